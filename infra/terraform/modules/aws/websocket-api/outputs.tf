output "id" {
  description = "Id of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "url" {
  description = "wss:// URL for clients."
  value       = "${aws_apigatewayv2_api.this.api_endpoint}/${var.stage}"
}

output "management_endpoint" {
  description = "https:// URL of the same stage, for posting to connections."
  value       = "${replace(aws_apigatewayv2_api.this.api_endpoint, "wss://", "https://")}/${var.stage}"
}

output "connections_arn" {
  description = "ARN on which a role needs `execute-api:ManageConnections` to post to connections."
  value       = "${aws_apigatewayv2_api.this.execution_arn}/${var.stage}/POST/@connections/*"
}
