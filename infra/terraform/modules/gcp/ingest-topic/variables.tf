variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "pubsub_agent" {
  description = "Pub/Sub's service agent of the project, as a member; it moves dead letters and creates the tokens."
  type        = string
}

variable "push_url" {
  description = "URL of the ingest function."
  type        = string
}

variable "delivery_attempts" {
  description = "Number of deliveries after which a message becomes a dead letter."
  type        = number
}

variable "retention_days" {
  description = "Retention of messages, in days."
  type        = number
}

variable "publishers" {
  description = "Members that may publish."
  type        = set(string)
}

variable "recovery_members" {
  description = "Members that may bring events back: they read the topic again, and the dead letters."
  type        = set(string)
}
