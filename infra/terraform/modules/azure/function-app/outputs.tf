output "id" {
  description = "The function app, once its functions are there."
  value       = azurerm_function_app_flex_consumption.this.id
  depends_on  = [terraform_data.code]
}

output "name" {
  description = "Its name."
  value       = azurerm_function_app_flex_consumption.this.name
}

output "storage_id" {
  description = "Its storage account, for the dead letters too."
  value       = azurerm_storage_account.this.id
}

output "storage_name" {
  description = "The storage account's name."
  value       = azurerm_storage_account.this.name
}

output "insights_id" {
  description = "Where its log goes."
  value       = azurerm_application_insights.this.id
}
