variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "place" {
  description = "Where it goes: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "cidr" {
  description = "Addresses of the network."
  type        = string
}
