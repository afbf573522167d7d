variable "name" {
  description = "Name of the bus, and prefix of the queues' names."
  type        = string
}

variable "visibility_seconds" {
  description = "How long SQS waits before it delivers again what was not acknowledged."
  type        = number
}

variable "max_receives" {
  description = "After so many deliveries an event is put into the dead-letter queue."
  type        = number
}

variable "archive_days" {
  description = "How long the bus' archive keeps events, in days."
  type        = number
}
