output "bus" {
  description = "Name of the event bus to publish to."
  value       = aws_cloudwatch_event_bus.this.name
}

output "bus_arn" {
  description = "Its ARN, for the policies of those who publish."
  value       = aws_cloudwatch_event_bus.this.arn
}

output "queue" {
  description = "Between the bus and the ingest function."
  value       = { arn = aws_sqs_queue.events.arn, name = aws_sqs_queue.events.name, url = aws_sqs_queue.events.url }
}

output "dead_letter_queue" {
  description = "What SQS gave up on."
  value       = { arn = aws_sqs_queue.dead_letters.arn, name = aws_sqs_queue.dead_letters.name, url = aws_sqs_queue.dead_letters.url }
}

output "relay_queue" {
  description = "The queue to ring at."
  value       = { arn = aws_sqs_queue.relay.arn, name = aws_sqs_queue.relay.name, url = aws_sqs_queue.relay.url }
}

output "rule" {
  description = "Name of the rule that sends every event to the queue."
  value       = aws_cloudwatch_event_rule.this.name
}
