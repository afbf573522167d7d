output "topic_arn" {
  description = "The SNS topic that every alarm is sent to; subscribe more to it."
  value       = aws_sns_topic.this.arn
}
