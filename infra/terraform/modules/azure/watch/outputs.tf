output "alerts" {
  description = "Names of the alerts."
  value = concat(
    [for alert in azurerm_monitor_metric_alert.this : alert.name],
    [for alert in azurerm_monitor_scheduled_query_rules_alert_v2.this : alert.name],
  )
}
