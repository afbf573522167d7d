variable "name" {
  description = "Name of the cache."
  type        = string
}

variable "vpc_id" {
  description = "The VPC of the subnets."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the cache; ElastiCache Serverless allows two or three."
  type        = list(string)
}

variable "function_security_group_id" {
  description = "Security group whose members may connect."
  type        = string
}

variable "max_gigabytes" {
  description = "Maximum data in GB; a cached event takes about 100 bytes for a day."
  type        = number
}

variable "max_ecpu_per_second" {
  description = "Maximum ElastiCache processing units per second; one is a simple command of up to 1 KB."
  type        = number
}
