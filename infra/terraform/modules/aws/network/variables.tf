variable "name" {
  description = "Prefix of every name, such as `helios`."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC; a /16 leaves room for more functions than an account may run."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]) <= 18, false)
    error_message = "cidr must be an IPv4 range of size /18 or larger, such as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "How many availability zones to spread over. Aurora asks for at least two."
  type        = number

  validation {
    condition     = var.zones >= 2 && var.zones <= 4
    error_message = "zones must be 2, 3 or 4: Aurora's subnet group needs two."
  }
}

variable "egress_ports" {
  description = "TCP ports that functions may call."
  type        = set(number)
}

variable "is_database_public" {
  description = "Whether the database's subnets have a route from the internet; its security group still names who may use it."
  type        = bool
}

variable "endpoints" {
  description = "What the functions may ask of AWS within the VPC: by service, the actions and the resources."
  type        = map(object({ actions = list(string), resources = list(string) }))
}
