output "url" {
  description = "HELIOS_ARCHIVE_URL of the processes that archive and read."
  value       = "s3://${aws_s3_bucket.this.bucket}/${local.folder}"
}

output "policy" {
  description = "Policy, as JSON, that the roles of these processes need."
  value       = data.aws_iam_policy_document.access.json
}

output "permissions" {
  description = "The statements of the policy, for a function."
  value       = local.permissions
}

output "reading_permissions" {
  description = "The statements of a function that only reads archived events."
  value       = local.reading
}

output "layer_arn" {
  description = "The version of the layer. Null: none."
  value       = one(aws_lambda_layer_version.packages[*].arn)
}
