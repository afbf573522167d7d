variable "name" {
  description = "Name of the API."
  type        = string
}

variable "function" {
  description = "The function that handles the routes, and the alias through which it is called."
  type        = object({ name = string, qualifier = string, invoke_arn = string })
}

variable "stage" {
  description = "Name of the stage, the last part of the URL."
  type        = string
}

variable "requests_per_second" {
  description = "Connections and messages per second of all clients together; each client pings every 30 seconds."
  type        = number
}
