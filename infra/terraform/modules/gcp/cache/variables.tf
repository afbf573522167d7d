variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "region" {
  description = "Region of the cache."
  type        = string
}

variable "network_id" {
  description = "The only network that reaches the cache."
  type        = string
}

variable "gigabytes" {
  description = "Memory of the cache, in GB."
  type        = number
}

variable "tier" {
  description = "Tier: BASIC or STANDARD_HA."
  type        = string
}
