output "bucket" {
  description = "Bucket to which dashboard/dist is uploaded."
  value       = aws_s3_bucket.this.bucket
}

output "distribution_id" {
  description = "The CloudFront distribution to invalidate after an upload."
  value       = aws_cloudfront_distribution.this.id
}

output "domain_name" {
  description = "Domain name of the dashboard."
  value       = aws_cloudfront_distribution.this.domain_name
}
