variable "name" {
  description = "Name of the cache, unique in all of Azure."
  type        = string
}

variable "place" {
  description = "Place of the resources: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "sku" {
  description = "SKU of the cache."
  type        = string
}

variable "network_id" {
  description = "The network that reaches the cache."
  type        = string
}

variable "subnet_id" {
  description = "Subnet of the private endpoint."
  type        = string
}
