output "topic_endpoint" {
  description = "Endpoint for publishers."
  value       = module.event_grid.endpoint
}

output "topic_key" {
  description = "Access key of the topic. Null when publish_with_keys is false."
  value       = var.publish_with_keys ? module.event_grid.key : null
  sensitive   = true
}

output "dead_letter_container" {
  description = "Container with the events on which Event Grid gave up, ACCOUNT/CONTAINER."
  value       = "${module.function_app.storage_name}/${module.event_grid.dead_letter_container}"
}

output "storage_account" {
  description = "Name of the storage account of the dead letters and the queues."
  value       = module.function_app.storage_name
}

output "poison_queue" {
  description = "Queue with the events that the function failed to store for a day, ACCOUNT/QUEUE."
  value       = "${module.function_app.storage_name}/${module.function_app.poison_queue_name}"
}

output "egress_address" {
  description = "Fixed address from which the functions call the internet: add it, with /32, to the AWS root's database_clients."
  value       = module.network.egress_address
}

output "function_app" {
  description = "Name of the function app."
  value       = module.function_app.name
}

output "resource_group" {
  description = "Name of the resource group."
  value       = azurerm_resource_group.this.name
}

output "recovery_places" {
  description = "HELIOS_RECOVERY_PLACES of a process that is one of recovery_readers. Null: there is none."
  value       = length(var.recovery_readers) > 0 ? "azure-dead-letters=https://${module.function_app.storage_name}.blob.core.windows.net/${module.event_grid.dead_letter_container}" : null
}
