output "policies" {
  description = "Names of the alerting policies."
  value = concat(
    [for policy in google_monitoring_alert_policy.this : policy.display_name],
    [google_monitoring_alert_policy.rejected.display_name],
  )
}
