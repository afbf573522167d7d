output "id" {
  description = "Id of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "access_log" {
  description = "Name of the log group of the access log."
  value       = aws_cloudwatch_log_group.access.name
}

output "endpoint" {
  description = "https:// URL without a trailing slash."
  value       = aws_apigatewayv2_api.this.api_endpoint
}
