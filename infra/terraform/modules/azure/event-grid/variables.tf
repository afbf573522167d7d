variable "name" {
  description = "The topic's name, unique in its region."
  type        = string
}

variable "place" {
  description = "Where it goes: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "function_id" {
  description = "The function that it calls."
  type        = string
}

variable "storage_id" {
  description = "The storage account for dead letters."
  type        = string
}

variable "delivery_attempts" {
  description = "How often an event is delivered."
  type        = number
}

variable "delivery_minutes" {
  description = "How long it is delivered, in minutes."
  type        = number
}

variable "dead_letter_days" {
  description = "How long dead letters are kept, in days."
  type        = number
}

variable "publishers" {
  description = "Object ids of who may publish, a name for each."
  type        = map(string)
}

variable "keys" {
  description = "Whether access keys may publish too."
  type        = bool
}
