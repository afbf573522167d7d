variable "name" {
  description = "Name of the function and of its service account."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.name))
    error_message = "name must have 6 to 30 lower-case letters, digits and hyphens, the limits of service account names."
  }
}

variable "description" {
  description = "One sentence that says what the function does."
  type        = string
}

variable "project" {
  description = "Id of the project."
  type        = string
}

variable "entry_point" {
  description = "Name of the Python function in main.py."
  type        = string
}

variable "memory" {
  description = "Memory, such as 512Mi; it determines the share of a CPU, unless an instance serves several requests at a time."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+[MG]i$", var.memory))
    error_message = "memory must be in Mi or Gi, such as 512Mi."
  }
}

variable "concurrency" {
  description = "Requests that one instance serves at a time, each in a thread of functions-framework."
  type        = number
}

variable "min_instances" {
  description = "Number of warm instances."
  type        = number
}

variable "max_instances" {
  description = "Maximum number of instances."
  type        = number
}

variable "callers" {
  description = "Members that may call the function."
  type        = list(string)
}

variable "function" {
  description = "Values that all functions share: the package in its bucket, the build account, the network, the settings, the secrets by environment variable, and the secret that is mounted as a file."
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
