variable "name" {
  description = "Name of the topic, unique in its region."
  type        = string
}

variable "place" {
  description = "Place of the resources: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "function_id" {
  description = "Id of the function that the subscription calls if there is no queue."
  type        = string
}

variable "queue" {
  description = "Queue of the storage account to which the subscription delivers. Null: it calls the function."
  type        = object({ id = string, name = string })
}

variable "queue_days" {
  description = "Retention of events in the queue, in days."
  type        = number
}

variable "storage_id" {
  description = "Id of the storage account for dead letters."
  type        = string
}

variable "delivery_attempts" {
  description = "Maximum number of deliveries of an event."
  type        = number
}

variable "delivery_minutes" {
  description = "How long delivery is attempted, in minutes."
  type        = number
}

variable "dead_letter_days" {
  description = "Retention of dead letters, in days."
  type        = number
}

variable "publishers" {
  description = "Object ids of the principals that may publish, by name."
  type        = map(string)
}

variable "keys" {
  description = "Whether the topic accepts access keys too."
  type        = bool
}

variable "recovery_readers" {
  description = "Principals that may read the dead letters: object ids in Entra ID, by name."
  type        = map(string)
}
