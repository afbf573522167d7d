variable "name" {
  description = "Name of the API."
  type        = string
}

variable "function" {
  description = "The function that answers."
  type        = object({ name = string, arn = string })
}

variable "requests_per_second" {
  description = "What is more is answered 429; bursts may be twice that."
  type        = number
}

variable "log_retention_days" {
  description = "How long its access log is kept, in days."
  type        = number
}
