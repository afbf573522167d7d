variable "name" {
  description = "Name of the function app and of the storage account, unique in all of Azure."
  type        = string
}

variable "place" {
  description = "Place of the resources: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "package" {
  description = "Path of the zip."
  type        = string
}

variable "python_version" {
  description = "Python version."
  type        = string
}

variable "memory" {
  description = "Memory of an instance, in MB."
  type        = number
}

variable "max_instances" {
  description = "Maximum number of instances."
  type        = number
}

variable "subnet_id" {
  description = "Id of the subnet for outgoing calls."
  type        = string
}

variable "vault_id" {
  description = "Id of the key vault that the app may read."
  type        = string
}

variable "settings" {
  description = "Settings; secrets are references to the vault."
  type        = map(string)
}

variable "log_retention_days" {
  description = "Retention of its log, in days."
  type        = number
}
