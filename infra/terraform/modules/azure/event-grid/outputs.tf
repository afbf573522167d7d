output "topic_id" {
  description = "Id of the topic."
  value       = azurerm_eventgrid_topic.this.id
}

output "endpoint" {
  description = "Endpoint for publishers."
  value       = azurerm_eventgrid_topic.this.endpoint
}

output "key" {
  description = "The topic's first access key."
  value       = azurerm_eventgrid_topic.this.primary_access_key
  sensitive   = true
}

output "dead_letter_container" {
  description = "Container with dead letters."
  value       = azurerm_storage_container.dead_letters.name
}

output "recovery_roles" {
  description = "The roles of recovery_readers, by name."
  value       = { for name, assignment in azurerm_role_assignment.recovery : name => assignment.role_definition_name }
}
