variable "name" {
  description = "Name of the API."
  type        = string
}

variable "function" {
  description = "The function that answers the requests, and the alias through which it is called."
  type        = object({ name = string, qualifier = string, arn = string })
}

variable "requests_per_second" {
  description = "Requests per second; requests beyond that receive 429. Bursts may be twice that."
  type        = number
}

variable "log_retention_days" {
  description = "Retention of the access log, in days."
  type        = number
}
