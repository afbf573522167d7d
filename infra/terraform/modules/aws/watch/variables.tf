variable "name" {
  description = "Prefix of the alarms' names, and the value of the tag Application that the budget counts."
  type        = string
}

variable "email" {
  description = "Email address for alarms and for the budget. Null: only CloudWatch shows alarms, and there is no budget."
  type        = string
}

variable "queues" {
  description = "Names of the monitored queues."
  type        = object({ events = string, dead_letters = string, relay = string })
}

variable "functions" {
  description = "Names of the monitored functions."
  type        = set(string)
}

variable "rules" {
  description = "Monitored EventBridge rules: the dimensions of each rule's metrics, by name."
  type        = map(map(string))
}

variable "database" {
  description = "Identifier of the Aurora cluster. Null: this root does not monitor the database."
  type        = string
}

variable "monthly_budget" {
  description = "US dollars a month; emails are sent at 80 % of it, and when the forecast exceeds it."
  type        = number
}
