variable "name" {
  description = "Its name, unique in all of Azure."
  type        = string
}

variable "place" {
  description = "Where it goes: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "tenant_id" {
  description = "The Entra ID tenant that says who is who."
  type        = string
}

variable "writers" {
  description = "Object ids of whoever applies this, a name for each."
  type        = map(string)
}

variable "secret_names" {
  description = "The names of the secrets."
  type        = set(string)
}

variable "secrets" {
  description = "The secrets by name."
  type        = map(string)
  sensitive   = true
}
