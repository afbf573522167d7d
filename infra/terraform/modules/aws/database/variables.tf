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
  description = "Security group whose members may connect."
  type        = string
}

variable "clients" {
  description = "Other clients that may connect, from outside the VPC: an IPv4 range by name. Empty: the database has no public address."
  type        = map(string)
}

variable "major_version" {
  description = "Major version of Aurora PostgreSQL. The newest minor version is created, and Aurora applies later ones."
  type        = number
}

variable "capacity" {
  description = "Aurora capacity units (2 GiB each) between which it scales; with a minimum of 0 it pauses, and resumes in about 15 s. Performance Insights is on from a minimum of 2."
  type        = object({ min = number, max = number })
}

variable "instances" {
  description = "Number of instances: 1, or 2 and more for a failover within a minute."
  type        = number
}

variable "backup_days" {
  description = "Retention of backups, in days: how far back it can be restored to any second."
  type        = number
}

variable "deletion_protection" {
  description = "Whether deletion is refused until this is false; also, whether a final snapshot is taken."
  type        = bool
}

variable "password_version" {
  description = "Raise it to set other passwords."
  type        = number
}

variable "log_retention_days" {
  description = "Retention of its log, in days."
  type        = number
}
