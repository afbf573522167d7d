variable "name" {
  description = "Prefix of every name."
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
