variable "name" {
  description = "The function's name; its account has the same."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.name))
    error_message = "name must have 6 to 30 lower-case letters, digits and hyphens, as accounts do."
  }
}

variable "description" {
  description = "What it does."
  type        = string
}

variable "project" {
  description = "The project's id."
  type        = string
}

variable "entry_point" {
  description = "The Python function in main.py."
  type        = string
}

variable "memory" {
  description = "Its memory, such as 512Mi; the share of a CPU follows from it, unless it serves several requests at a time."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+[MG]i$", var.memory))
    error_message = "memory must be in Mi or Gi, such as 512Mi."
  }
}

variable "concurrency" {
  description = "Requests that one instance serves at a time, each in a thread of functions-framework's."
  type        = number
}

variable "min_instances" {
  description = "Instances that are kept warm."
  type        = number
}

variable "max_instances" {
  description = "Most instances."
  type        = number
}

variable "callers" {
  description = "The members that may call it."
  type        = list(string)
}

variable "function" {
  description = "What all functions share: the package in its bucket, the account that builds it, the network, the settings, the secrets by the variable they become, and the secret that becomes a file."
  type = object({
    region        = string
    runtime       = string
    bucket        = string
    object        = string
    build_account = string
    network       = string
    subnetwork    = string
    settings      = map(string)
    secrets       = map(object({ secret = string, version = string }))
    certificate   = optional(object({ secret = string, version = string, path = string }))
  })
}
