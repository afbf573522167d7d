variable "name" {
  description = "Name of the cache."
  type        = string
}

variable "vpc_id" {
  description = "The VPC of the subnets."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the cache; ElastiCache Serverless takes two or three."
  type        = list(string)
}

variable "function_security_group_id" {
  description = "The group whose members may connect."
  type        = string
}

variable "max_gigabytes" {
  description = "Most data it may hold; a remembered event takes about 100 bytes for a day."
  type        = number
}

variable "max_ecpu_per_second" {
  description = "Most ElastiCache processing units a second; one is a simple command of up to 1 KB."
  type        = number
}
