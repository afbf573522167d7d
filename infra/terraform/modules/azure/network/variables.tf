variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "place" {
  description = "Place of the resources: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "cidr" {
  description = "IPv4 range of the network."
  type        = string
}
