variable "name" {
  description = "Prefix of the bucket's name, which the account's number makes unique."
  type        = string
}

variable "connect_to" {
  description = "Origins that the page may call: the API's https:// and the live stream's wss://."
  type        = list(string)
}
