# For operators and scripts.

output "api_url" {
  description = "URL of Helios' API, without a trailing slash. The other roots notify the relay at its /api/v1/relay/notify."
  value       = local.http_url
}

output "websocket_url" {
  description = "URL of the live stream, for clients."
  value       = local.websocket_url
}

output "dashboard_url" {
  description = "Origin of the dashboard."
  value       = local.dashboard_origin
}

output "dashboard_bucket" {
  description = "Bucket to which dashboard/dist is uploaded. Null: this root does not serve the dashboard."
  value       = try(module.dashboard[0].bucket, null)
}

output "dashboard_distribution_id" {
  description = "CloudFront distribution to invalidate after an upload. Null: this root does not serve the dashboard."
  value       = try(module.dashboard[0].distribution_id, null)
}

output "bus" {
  description = "Name of the event bus for publishers."
  value       = module.events.bus
}

output "queue_url" {
  description = "URL of the queue between the bus and the ingest function."
  value       = module.events.queue.url
}

output "dead_letter_queue_url" {
  description = "URL of the dead-letter queue. `.venv/bin/python -m scripts.redrive aws` puts its messages back into the queue."
  value       = module.events.dead_letter_queue.url
}

output "relay_queue_url" {
  description = "URL of the queue that starts the relay."
  value       = module.events.relay_queue.url
}

output "name" {
  description = "Prefix of every name, also of the alarms'."
  value       = var.name
}

output "region" {
  description = "Region of the deployment."
  value       = var.region
}

output "secret" {
  description = "Name of the secret with the functions' secret settings."
  value       = aws_secretsmanager_secret.settings["settings"].name
}

output "egress_address" {
  description = "Address from which the functions call the internet, for the firewall of an existing database. Null: the functions are not in a VPC."
  value       = try(module.network[0].egress_address, null)
}

output "alarm_topic_arn" {
  description = "ARN of the SNS topic for every alarm. Null with an emulator."
  value       = try(module.watch[0].topic_arn, null)
}

# For the GCP and Azure roots, and for the migration.

output "database_clients" {
  description = "Clients that may connect to Aurora from outside its VPC: an IPv4 range by name. Null: this root does not create the database."
  value       = try(module.database[0].clients, null)
}

output "deletion_protection" {
  description = "Whether `terraform destroy` would fail half-way, because Aurora is protected."
  value       = var.deletion_protection && local.makes_database
}

output "database_url" {
  description = "URL of Postgres for `helios migrate` and `helios tokens`, with its password."
  value       = local.database_urls["migrate"]
  sensitive   = true
}

output "database_urls" {
  description = "URL of Postgres with the password of each role: admin, which creates the others, migrate, api, aws, gcp and azure. Each other root gets its own."
  value       = local.database_urls
  sensitive   = true
}

output "has_database_roles" {
  description = "Whether this root creates the database, so that each role has a password of its own."
  value       = local.makes_database
}

output "releases" {
  description = "The newest version of each function, by the function's name. `.venv/bin/python -m scripts.deploy.release` moves the alias `live` to it."
  value       = { for key, function in module.function : function.name => function.version }
}

output "notify_secret" {
  description = "Secret that the functions of the other clouds send when they notify the relay."
  value       = local.notify_secret
  sensitive   = true
}

output "flink" {
  description = "Name of the application on Amazon Managed Service for Apache Flink. Null: none."
  value       = one(module.flink[*].application)
}

output "log" {
  description = "HELIOS_LOG_BROKERS, and the secret and its key for the clients of the log. Null: no log."
  value       = one([for log in module.log : { brokers = log.brokers, secret_arn = log.secret_arn, key_arn = log.key_arn }])
}

output "archive" {
  description = "HELIOS_ARCHIVE_URL of the processes that archive and read, and the policy that their roles need. Null: no archive."
  value       = one([for archive in module.archive : { url = local.archive_url, policy = archive.policy }])
}

output "recovery_places" {
  description = "HELIOS_RECOVERY_PLACES of a process outside these functions, which needs the permissions of the sweep. Null: recoveries are off."
  value       = var.recoveries ? local.recovery_places : null
}
