output "policies" {
  description = "Names of the alerting policies."
  value       = [for policy in google_monitoring_alert_policy.this : policy.display_name]
}
