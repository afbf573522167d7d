variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "place" {
  description = "Place of the resources: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "topic_id" {
  description = "Id of the Event Grid topic."
  type        = string
}

variable "insights_id" {
  description = "Id of the functions' Application Insights."
  type        = string
}

variable "email" {
  description = "Email address for alarms. Null: no email."
  type        = string
}
