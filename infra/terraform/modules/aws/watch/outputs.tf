output "topic_arn" {
  description = "ARN of the SNS topic for every alarm; add subscriptions to it."
  value       = aws_sns_topic.this.arn
}
