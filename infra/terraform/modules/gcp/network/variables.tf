variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "region" {
  description = "Region of the subnet."
  type        = string
}

variable "subnet_cidr" {
  description = "IPv4 range of the subnet."
  type        = string
}
