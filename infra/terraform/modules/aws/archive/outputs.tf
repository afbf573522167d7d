output "url" {
  description = "HELIOS_ARCHIVE_URL of the processes that archive and read."
  value       = "s3://${aws_s3_bucket.this.bucket}/events"
}

output "policy" {
  description = "Policy, as JSON, that the roles of these processes need."
  value       = data.aws_iam_policy_document.access.json
}
