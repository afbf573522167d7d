variable "name" {
  description = "Beginning of the names of all resources."
  type        = string
}

variable "cheaper_after_days" {
  description = "Age at which a file moves to Glacier Instant Retrieval, in days: storing it costs a sixth, reading it more."
  type        = number
}

variable "noncurrent_days" {
  description = "How long a file stays as a version after it was replaced or removed, in days."
  type        = number
}

variable "task" {
  description = "Task of ECS that runs `helios archive run` once a day. Null: no schedule; a function runs it."
  type = object({
    cluster_arn         = string
    task_definition_arn = string
    role_arns           = list(string) # the task role and the execution role of the task definition
    subnet_ids          = list(string)
    security_group_ids  = list(string)
  })
}

variable "layer" {
  description = "Path of the zip of the layer that `make package` built, and the runtime and architecture it is for. Null: no layer."
  type        = object({ package = string, runtime = string, architecture = string })
}

variable "permissions_boundary" {
  description = "ARN of the policy that limits what any role of this deployment may do. Null: none."
  type        = string
}
