variable "name" {
  description = "Its name, unique in all of Azure; the storage account has the same."
  type        = string
}

variable "place" {
  description = "Where it goes: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "package" {
  description = "The zip."
  type        = string
}

variable "python_version" {
  description = "Its Python."
  type        = string
}

variable "memory" {
  description = "Memory of an instance, in MB."
  type        = number
}

variable "max_instances" {
  description = "Most instances."
  type        = number
}

variable "subnet_id" {
  description = "The subnet that it calls out through."
  type        = string
}

variable "vault_id" {
  description = "The key vault that it may read."
  type        = string
}

variable "settings" {
  description = "Its settings; secrets as references to the vault."
  type        = map(string)
}

variable "log_retention_days" {
  description = "How long its log is kept, in days."
  type        = number
}
