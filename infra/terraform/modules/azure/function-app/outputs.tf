output "id" {
  description = "Id of the function app, once its functions are published."
  value       = azurerm_function_app_flex_consumption.this.id
  depends_on  = [terraform_data.code]
}

output "name" {
  description = "Name of the function app."
  value       = azurerm_function_app_flex_consumption.this.name
}

output "storage_id" {
  description = "Id of its storage account, which also holds the dead letters."
  value       = azurerm_storage_account.this.id
}

output "storage_name" {
  description = "Name of the storage account."
  value       = azurerm_storage_account.this.name
}

output "insights_id" {
  description = "Id of the Application Insights that hold its log."
  value       = azurerm_application_insights.this.id
}

output "queue_name" {
  description = "Name of the queue from which the function ingest_queued takes events."
  value       = azurerm_storage_queue.events.name
}

output "queue_id" {
  description = "Id of this queue."
  value       = azurerm_storage_queue.events.id
}

output "poison_queue_name" {
  description = "Name of the queue of events that the function failed to store on every attempt."
  value       = azurerm_storage_queue.poison.name
}
