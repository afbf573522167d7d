output "topic" {
  description = "Topic for publishers, projects/PROJECT/topics/NAME."
  value       = module.topic.topic
}

output "subscription" {
  description = "Name of the subscription that pushes to the ingest function."
  value       = module.topic.subscription
}

output "dead_letter_subscription" {
  description = "Name of the subscription with the messages on which Pub/Sub gave up; pull from it to see why."
  value       = module.topic.dead_letter_subscription
}

output "egress_address" {
  description = "Fixed address from which the functions call the internet: add it, with /32, to the AWS root's database_clients."
  value       = module.network.egress_address
}

output "ingest_url" {
  description = "The ingest function; only Pub/Sub's account may call it."
  value       = module.ingest.url
}

output "releases" {
  description = "Names of the functions whose newest revision a release gives calls to."
  value       = [module.ingest.name, module.sweep.name]
}

output "region" {
  description = "Region of the functions."
  value       = var.region
}

output "project" {
  description = "Id of the project."
  value       = var.project
}

output "deletion_protection" {
  description = "Whether `terraform destroy` would fail half-way, because the bucket of packages is protected."
  value       = var.deletion_protection
}

output "recovery_places" {
  description = "HELIOS_RECOVERY_PLACES of a process whose account is one of recovery_members. Null: there is none."
  value       = length(var.recovery_members) > 0 ? "gcp-topic=${module.topic.topic} gcp-dead-letters=${module.topic.dead_letter_subscription_id}" : null
}
