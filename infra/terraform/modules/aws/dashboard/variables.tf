variable "name" {
  description = "Prefix of the bucket's name; the account's number makes it unique."
  type        = string
}

variable "connect_to" {
  description = "Origins to which the page may connect: the API's https:// and the live stream's wss://."
  type        = list(string)
}
