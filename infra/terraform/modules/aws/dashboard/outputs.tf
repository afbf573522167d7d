output "bucket" {
  description = "Where to upload dashboard/dist to."
  value       = aws_s3_bucket.this.bucket
}

output "distribution_id" {
  description = "The CloudFront distribution to invalidate after an upload."
  value       = aws_cloudfront_distribution.this.id
}

output "domain_name" {
  description = "Where viewers open it."
  value       = aws_cloudfront_distribution.this.domain_name
}
