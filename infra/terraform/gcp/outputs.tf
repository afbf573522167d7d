output "topic" {
  description = "The topic to publish to, projects/PROJECT/topics/NAME."
  value       = module.topic.topic
}

output "subscription" {
  description = "Name of the subscription that pushes to the ingest function."
  value       = module.topic.subscription
}

output "dead_letter_subscription" {
  description = "Name of the subscription that holds what Pub/Sub gave up on; pull from it to see why."
  value       = module.topic.dead_letter_subscription
}

output "egress_address" {
  description = "The fixed address that the functions call the internet from: put it, with /32, into the AWS root's database_clients."
  value       = module.network.egress_address
}

output "ingest_url" {
  description = "The ingest function; only Pub/Sub's account may call it."
  value       = module.ingest.url
}

output "project" {
  description = "Where all of this is."
  value       = var.project
}

output "deletion_protection" {
  description = "Whether destroying this would be refused half-way, since the bucket of packages is protected."
  value       = var.deletion_protection
}
