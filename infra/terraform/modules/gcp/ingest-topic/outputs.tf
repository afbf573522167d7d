output "topic" {
  description = "The topic to publish to."
  value       = google_pubsub_topic.this.id
}

output "subscription" {
  description = "Name of the subscription that pushes."
  value       = google_pubsub_subscription.this.name
}

output "dead_letter_subscription" {
  description = "Name of the subscription that keeps dead letters."
  value       = google_pubsub_subscription.dead_letters.name
}

output "push_account_member" {
  description = "Who calls the function."
  value       = google_service_account.push.member
}
