variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "project" {
  description = "Number of the project: Google returns a budget's project by its number, and the id would differ in every plan."
  type        = string
}

variable "billing_account" {
  description = "Id of the billing account. Null without a budget."
  type        = string
}

variable "budget" {
  description = "Monthly budget of the project, in the billing account's currency. Null: none."
  type        = number
}

variable "nat_name" {
  description = "Name of the NAT gateway."
  type        = string
}

variable "ingest" {
  description = "Name of the ingest function."
  type        = string
}

variable "subscription" {
  description = "Name of the subscription that pushes."
  type        = string
}

variable "dead_letter_subscription" {
  description = "Name of the subscription with dead letters."
  type        = string
}

variable "functions" {
  description = "Names of the functions."
  type        = list(string)
}

variable "email" {
  description = "Email address for alarms. Null: no email."
  type        = string
}
