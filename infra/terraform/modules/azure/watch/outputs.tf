output "alerts" {
  description = "Names of the alerts."
  value       = [for alert in azurerm_monitor_metric_alert.this : alert.name]
}
