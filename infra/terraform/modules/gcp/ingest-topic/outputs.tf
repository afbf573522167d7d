output "topic" {
  description = "Topic for publishers."
  value       = google_pubsub_topic.this.id
}

output "subscription" {
  description = "Name of the subscription that pushes."
  value       = google_pubsub_subscription.this.name
}

output "dead_letter_subscription" {
  description = "Name of the subscription with dead letters."
  value       = google_pubsub_subscription.dead_letters.name
}

output "dead_letter_subscription_id" {
  description = "The same, with its project."
  value       = google_pubsub_subscription.dead_letters.id
}

output "push_account_member" {
  description = "Member that calls the function."
  value       = google_service_account.push.member
}

output "recovery_permissions" {
  description = "What recovery_members may do."
  value       = flatten([for role in concat(google_project_iam_custom_role.recovery, google_project_iam_custom_role.recovery_topic) : tolist(role.permissions)])
}
