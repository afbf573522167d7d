variable "name" {
  description = "Name of the vault, unique in all of Azure."
  type        = string
}

variable "place" {
  description = "Place of the resources: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "tenant_id" {
  description = "Id of the Entra ID tenant."
  type        = string
}

variable "writers" {
  description = "Object ids of the deployers, by name."
  type        = map(string)
}

variable "secret_names" {
  description = "Names of the secrets."
  type        = set(string)
}

variable "secrets" {
  description = "Values of the secrets, by name."
  type        = map(string)
  sensitive   = true
}
