output "application" {
  description = "Name of the application."
  value       = aws_kinesisanalyticsv2_application.this.name
}

output "security_group_id" {
  description = "Security group of the application: the log must admit it (client_security_group_ids)."
  value       = aws_security_group.this.id
}
