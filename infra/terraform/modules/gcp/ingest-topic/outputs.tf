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

output "push_account_member" {
  description = "Member that calls the function."
  value       = google_service_account.push.member
}
