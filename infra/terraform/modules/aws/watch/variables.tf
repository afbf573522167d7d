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

variable "nat_gateways" {
  description = "Id of the NAT gateway, as a list of one. Empty: this root has no network of its own."
  type        = list(string)
}

variable "monthly_budget" {
  description = "US dollars a month; emails are sent at 80 % of it, and when the forecast exceeds it."
  type        = number
}

variable "namespace" {
  description = "CloudWatch namespace of the functions' own metrics, which no other deployment in the account has."
  type        = string
}

variable "apis" {
  description = "Ids of the HTTP API and of the WebSocket API, and the name of the HTTP API's access log."
  type        = object({ http = string, websocket = string, access_log = string })
}

variable "max_connections" {
  description = "Connections to Postgres that the alarm tolerates."
  type        = number
}

variable "storage_gigabytes" {
  description = "Storage of the database that the alarm tolerates, in GB."
  type        = number
}

variable "archives" {
  description = "Whether there is an archive, whose last success the sweep reports."
  type        = bool
}
