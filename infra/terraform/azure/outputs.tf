output "topic_endpoint" {
  description = "Where to publish."
  value       = module.event_grid.endpoint
}

output "topic_key" {
  description = "The topic's access key; null when publish_with_keys is off."
  value       = var.publish_with_keys ? module.event_grid.key : null
  sensitive   = true
}

output "dead_letter_container" {
  description = "The container with what Event Grid gave up on, ACCOUNT/CONTAINER."
  value       = "${module.function_app.storage_name}/${module.event_grid.dead_letter_container}"
}

output "egress_address" {
  description = "The fixed address that the functions call the internet from: put it, with /32, into the AWS root's database_clients."
  value       = module.network.egress_address
}

output "function_app" {
  description = "The function app's name."
  value       = module.function_app.name
}

output "resource_group" {
  description = "Where all of this is."
  value       = azurerm_resource_group.this.name
}
