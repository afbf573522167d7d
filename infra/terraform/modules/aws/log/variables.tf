variable "name" {
  description = "Beginning of the names of all resources."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the brokers."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in three zones, one for each broker."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "subnet_ids must name three subnets: every message has a replica in each of three zones."
  }
}

variable "client_security_group_ids" {
  description = "Security groups, by name, of what reads and writes the log: edges, projectors, the job of Flink."
  type        = map(string)
}

variable "kafka_version" {
  description = "Version of Apache Kafka, as MSK names it."
  type        = string
}

variable "instance_type" {
  description = "Instance type of a broker."
  type        = string
}

variable "volume_gigabytes" {
  description = "Storage of a broker, in GB: the log of --retention-days."
  type        = number
}

variable "password_version" {
  description = "A new number replaces the password of the clients."
  type        = number
}

variable "log_retention_days" {
  description = "How long the brokers' own logs are stored, in days."
  type        = number
}
