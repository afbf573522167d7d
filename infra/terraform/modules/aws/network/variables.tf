variable "name" {
  description = "Prefix of every name, such as `helios`."
  type        = string
}

variable "cidr" {
  description = "IPv4 range of the VPC; a /16 has room for more functions than an account may run."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]) <= 18, false)
    error_message = "cidr must be an IPv4 range of size /18 or larger, such as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "Number of availability zones. Aurora requires at least two."
  type        = number

  validation {
    condition     = var.zones >= 2 && var.zones <= 4
    error_message = "zones must be 2, 3 or 4: Aurora's subnet group needs two."
  }
}

variable "egress_ports" {
  description = "TCP ports to which functions may connect."
  type        = set(number)
}

variable "is_database_public" {
  description = "Whether the database's subnets have a route from the internet; its security group still names the allowed clients."
  type        = bool
}

variable "endpoints" {
  description = "AWS calls that the endpoints allow: the actions and the resources by service."
  type        = map(object({ actions = list(string), resources = list(string) }))
}

variable "s3" {
  description = "What the functions may do through a gateway to S3, which has no price and spares the NAT gateway. Null: no gateway."
  type        = object({ actions = list(string), resources = list(string) })
}
