variable "name" {
  description = "Name of the function and of its role."
  type        = string
}

variable "description" {
  description = "What it does, in a sentence."
  type        = string
}

variable "package" {
  description = "Path of its zip, built by `make package`."
  type        = string
}

variable "runtime" {
  description = "The runtime its zip was built for."
  type        = string
}

variable "architecture" {
  description = "The processor its zip was built for: x86_64 or arm64."
  type        = string
}

variable "memory" {
  description = "Memory in MB; the share of a CPU grows with it."
  type        = number
}

variable "timeout" {
  description = "Longest time for one call, in seconds."
  type        = number
}

variable "environment" {
  description = "Its environment variables; no secrets."
  type        = map(string)
}

variable "permissions" {
  description = "What its role may do beyond logging, a statement each."
  type        = map(object({ actions = list(string), resources = list(string) }))
}

variable "network" {
  description = "Where in a VPC it runs; null: in none."
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
}

variable "log_retention_days" {
  description = "How long its log is kept, in days."
  type        = number
}
