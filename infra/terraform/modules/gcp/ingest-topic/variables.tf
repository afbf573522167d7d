variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "pubsub_agent" {
  description = "The project's own account of Pub/Sub, as a member; it moves dead letters and makes the tokens."
  type        = string
}

variable "push_url" {
  description = "The ingest function."
  type        = string
}

variable "delivery_attempts" {
  description = "How often a message is delivered before it is a dead letter."
  type        = number
}

variable "retention_days" {
  description = "How long messages are kept, in days."
  type        = number
}

variable "publishers" {
  description = "The members that may publish."
  type        = set(string)
}
