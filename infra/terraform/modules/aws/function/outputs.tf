output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "ARN of the alias `live`, for queues, APIs and schedules."
  value       = aws_lambda_alias.live.arn
}

output "invoke_arn" {
  description = "ARN of the alias `live` for the integration of an API."
  value       = aws_lambda_alias.live.invoke_arn
}

output "qualifier" {
  description = "Name of the alias, for permissions to invoke it."
  value       = aws_lambda_alias.live.name
}

output "version" {
  description = "The newest version, which a release moves the alias to."
  value       = aws_lambda_function.this.version
}

output "layers" {
  description = "The layers of the function."
  value       = aws_lambda_function.this.layers
}
