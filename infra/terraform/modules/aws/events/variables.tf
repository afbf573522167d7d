variable "name" {
  description = "Name of the bus, and prefix of the queues' names."
  type        = string
}

variable "visibility_seconds" {
  description = "How long SQS waits before it delivers an unacknowledged event again, in seconds."
  type        = number
}

variable "max_receives" {
  description = "Number of deliveries after which SQS moves an event to the dead-letter queue."
  type        = number
}

variable "archive_days" {
  description = "Retention of the bus' archive, in days."
  type        = number
}

variable "recoveries" {
  description = "Whether rules of recoveries may send to the queue of events."
  type        = bool
}
