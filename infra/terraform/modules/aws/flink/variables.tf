variable "name" {
  description = "Beginning of the names of all resources."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the log."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets with a route to S3 and to the brokers."
  type        = list(string)
}

variable "code" {
  description = "The package of the job: the ARN of its bucket, its key, and its version in the bucket."
  type = object({
    bucket_arn = string
    key        = string
    version    = optional(string)
  })
}

variable "runtime" {
  description = "Version of Apache Flink, as the service names it. The job is written for 2.3."
  type        = string
}

variable "brokers" {
  description = "HELIOS_LOG_BROKERS of the log."
  type        = string
}

variable "secret" {
  description = "Secret with the user and the password of the log's clients, and the key that encrypts it."
  type = object({
    arn     = string
    key_arn = string
  })
}

variable "log_prefix" {
  description = "HELIOS_LOG_PREFIX."
  type        = string
}

variable "retention" {
  description = "HELIOS_RETENTION: its ids say how long the job knows identities. Empty: 30 days."
  type        = string
}

variable "parallelism" {
  description = "Number of tasks. Each has a processing unit of its own (a core and 4 GB), as all Python of a process shares one interpreter."
  type        = number
}

variable "checkpoint_milliseconds" {
  description = "Time between two checkpoints, with which results become visible."
  type        = number
}

variable "starts" {
  description = "Whether the application runs. False: it is created, and starts by hand."
  type        = bool
}

variable "log_retention_days" {
  description = "How long the logs of the application are stored, in days."
  type        = number
}

variable "permissions_boundary" {
  description = "ARN of a policy that limits the role. Null: none."
  type        = string
}
