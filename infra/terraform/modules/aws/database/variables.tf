variable "name" {
  description = "Name of the cluster."
  type        = string
}

variable "vpc_id" {
  description = "The VPC of the subnets."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets in at least two zones."
  type        = list(string)
}

variable "function_security_group_id" {
  description = "The group whose members may connect."
  type        = string
}

variable "clients" {
  description = "Who else may connect, from outside of the VPC: a name for each IPv4 range. Empty: the database has no public address."
  type        = map(string)
}

variable "engine_version" {
  description = "Aurora PostgreSQL's version when it is made; minor versions follow by themselves."
  type        = string
}

variable "capacity" {
  description = "Aurora capacity units (2 GiB each) that it scales between; a minimum of 0 lets it sleep, and wake up in about 15 s."
  type        = object({ min = number, max = number })
}

variable "instances" {
  description = "1, or 2 and more for a failover within a minute."
  type        = number
}

variable "backup_days" {
  description = "How far back it can be restored to any second, in days."
  type        = number
}

variable "deletion_protection" {
  description = "Whether destroying it is refused until this is switched off; also, whether a last snapshot is kept."
  type        = bool
}

variable "password_version" {
  description = "Raise it to set another password."
  type        = number
}

variable "log_retention_days" {
  description = "How long its log is kept, in days."
  type        = number
}
