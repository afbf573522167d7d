output "bus" {
  description = "Name of the event bus for publishers."
  value       = aws_cloudwatch_event_bus.this.name
}

output "bus_arn" {
  description = "ARN of the bus, for the policies of publishers."
  value       = aws_cloudwatch_event_bus.this.arn
}

output "queue" {
  description = "The queue between the bus and the ingest function."
  value       = { arn = aws_sqs_queue.events.arn, name = aws_sqs_queue.events.name, url = aws_sqs_queue.events.url }
}

output "dead_letter_queue" {
  description = "The dead-letter queue."
  value       = { arn = aws_sqs_queue.dead_letters.arn, name = aws_sqs_queue.dead_letters.name, url = aws_sqs_queue.dead_letters.url }
}

output "relay_queue" {
  description = "The queue that notifies the relay."
  value       = { arn = aws_sqs_queue.relay.arn, name = aws_sqs_queue.relay.name, url = aws_sqs_queue.relay.url }
}

output "rule" {
  description = "Name of the rule that sends every event to the queue."
  value       = aws_cloudwatch_event_rule.this.name
}

output "archive_arn" {
  description = "ARN of the bus' archive."
  value       = aws_cloudwatch_event_archive.this.arn
}

output "recovery" {
  description = "ARNs of what recoveries make: their rules and their replays; and of all rules, which they list."
  value = {
    rules     = local.recovery_rules_arn
    replays   = replace(local.recovery_rules_arn, "rule/${var.name}/", "replay/")
    any_rules = replace(local.recovery_rules_arn, "/rule/.*$/", "rule/*")
  }
}
