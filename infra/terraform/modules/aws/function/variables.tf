variable "name" {
  description = "Name of the function and of its role."
  type        = string
}

variable "description" {
  description = "One sentence that says what the function does."
  type        = string
}

variable "package" {
  description = "Path of the zip that `make package` built."
  type        = string
}

variable "runtime" {
  description = "Runtime for which the zip was built."
  type        = string
}

variable "architecture" {
  description = "Processor architecture for which the zip was built: x86_64 or arm64."
  type        = string
}

variable "memory" {
  description = "Memory in MB; the share of a CPU grows with it."
  type        = number
}

variable "timeout" {
  description = "Timeout of one call, in seconds."
  type        = number
}

variable "environment" {
  description = "Environment variables; no secrets."
  type        = map(string)
}

variable "layers" {
  description = "ARNs of the versions of layers that the function gets."
  type        = list(string)
}

variable "permissions" {
  description = "Permissions of the role besides logging, one statement each."
  type        = map(object({ actions = list(string), resources = list(string) }))
}

variable "network" {
  description = "Subnets and security groups in a VPC. Null: not in a VPC."
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
}

variable "log_retention_days" {
  description = "Retention of its log, in days."
  type        = number
}

variable "permissions_boundary" {
  description = "ARN of the policy that limits what any role of this deployment may do. Null: none."
  type        = string
}

variable "reserved_concurrency" {
  description = "Concurrent executions that are reserved for this function and limit it. -1: no reservation."
  type        = number
}

variable "is_scheduled" {
  description = "Whether a schedule calls the function, so that a failed call need not be repeated."
  type        = bool
}

variable "storage" {
  description = "Size of /tmp in MB."
  type        = number
  default     = 512
}
