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

output "package" {
  description = "The uploaded package of the function. Null: none."
  value       = one([for object in aws_s3_object.package : { bucket = object.bucket, key = object.key, version = object.version_id }])
}
