variable "name" {
  description = "Its name, unique in all of Azure."
  type        = string
}

variable "place" {
  description = "Where it goes: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "sku" {
  description = "Its size."
  type        = string
}

variable "network_id" {
  description = "The network that reaches it."
  type        = string
}

variable "subnet_id" {
  description = "Where its private endpoint is."
  type        = string
}
