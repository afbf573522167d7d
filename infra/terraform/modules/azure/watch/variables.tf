variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "place" {
  description = "Place of the resources: resource group, location and tags."
  type        = object({ resource_group = string, location = string, tags = map(string) })
}

variable "group_id" {
  description = "Id of the resource group."
  type        = string
}

variable "topic_id" {
  description = "Id of the Event Grid topic."
  type        = string
}

variable "insights_id" {
  description = "Id of the functions' Application Insights."
  type        = string
}

variable "nat_gateway_id" {
  description = "Id of the NAT gateway through which the functions call Postgres."
  type        = string
}

variable "email" {
  description = "Email address for alarms. Null: no email."
  type        = string
}

variable "budget" {
  description = "Monthly budget of the resource group, in the subscription's currency. Null: none."
  type        = number
}
