variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "region" {
  description = "Where the subnet is."
  type        = string
}

variable "subnet_cidr" {
  description = "Addresses of the subnet."
  type        = string
}
