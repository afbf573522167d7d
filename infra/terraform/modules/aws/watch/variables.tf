variable "name" {
  description = "Prefix of the alarms' names; the tag Application that the budget counts."
  type        = string
}

variable "email" {
  description = "Who hears of alarms and of the budget. Null: alarms are shown by CloudWatch only, and there is no budget."
  type        = string
}

variable "queues" {
  description = "Names of the queues to watch."
  type        = object({ events = string, dead_letters = string, relay = string })
}

variable "functions" {
  description = "Names of the functions to watch."
  type        = set(string)
}

variable "rules" {
  description = "EventBridge's rules to watch: a name for each, and the dimensions of its metrics."
  type        = map(map(string))
}

variable "database" {
  description = "Identifier of the Aurora cluster; null: it is somebody else's to watch."
  type        = string
}

variable "monthly_budget" {
  description = "US dollars a month; mails are sent at 80 % of it, and when the forecast exceeds it."
  type        = number
}
