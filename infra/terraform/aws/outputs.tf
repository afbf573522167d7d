# For people and scripts.

output "api_url" {
  description = "Helios' API, without a trailing slash. The other roots ring at its /api/v1/relay/notify."
  value       = local.http_url
}

output "websocket_url" {
  description = "The live stream, for clients."
  value       = local.websocket_url
}

output "dashboard_url" {
  description = "Where the dashboard is served."
  value       = local.dashboard_origin
}

output "dashboard_bucket" {
  description = "Where to upload dashboard/dist to; null: it is served elsewhere."
  value       = try(module.dashboard[0].bucket, null)
}

output "dashboard_distribution_id" {
  description = "The CloudFront distribution to invalidate after an upload; null: it is served elsewhere."
  value       = try(module.dashboard[0].distribution_id, null)
}

output "bus" {
  description = "Name of the event bus to publish to."
  value       = module.events.bus
}

output "queue_url" {
  description = "The queue between the bus and the ingest function."
  value       = module.events.queue.url
}

output "dead_letter_queue_url" {
  description = "What SQS gave up on; `python -m scripts.deploy.redrive` hands it back."
  value       = module.events.dead_letter_queue.url
}

output "relay_queue_url" {
  description = "The queue that starts the relay."
  value       = module.events.relay_queue.url
}

output "region" {
  description = "Where all of this is."
  value       = var.region
}

output "secret" {
  description = "Name of the secret with the functions' secret settings."
  value       = aws_secretsmanager_secret.settings.name
}

output "egress_address" {
  description = "The address that functions call the internet from, for the firewall of an existing database; null: not in a VPC."
  value       = try(module.network[0].egress_address, null)
}

output "alarm_topic_arn" {
  description = "The SNS topic of every alarm; null with an emulator."
  value       = try(module.watch[0].topic_arn, null)
}

# For the GCP and Azure roots, and for the migration.

output "database_clients" {
  description = "Who may connect to Aurora from outside of its VPC: a range for each name. Null: the database is somebody else's."
  value       = try(module.database[0].clients, null)
}

output "deletion_protection" {
  description = "Whether destroying this would be refused half-way, since Aurora is protected."
  value       = var.deletion_protection && local.makes_database
}

output "database_url" {
  description = "Postgres, with its password."
  value       = local.database_url
  sensitive   = true
}

output "notify_secret" {
  description = "What the functions of the other clouds show when they ring."
  value       = local.notify_secret
  sensitive   = true
}
