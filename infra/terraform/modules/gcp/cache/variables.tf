variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "region" {
  description = "Where it is."
  type        = string
}

variable "network_id" {
  description = "The only network that reaches it."
  type        = string
}

variable "gigabytes" {
  description = "Its memory, in GB."
  type        = number
}

variable "tier" {
  description = "BASIC or STANDARD_HA."
  type        = string
}
