variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "place" {
  description = "Where it goes: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "topic_id" {
  description = "The Event Grid topic."
  type        = string
}

variable "insights_id" {
  description = "The functions' Application Insights."
  type        = string
}

variable "email" {
  description = "Who is told; null: nobody."
  type        = string
}
