# What is deployed.

variable "name" {
  description = "Prefix of every name. Another one makes a second Helios in the same project."
  type        = string
  default     = "helios"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 20 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen: it becomes a part of account names, which have 30 characters at most."
  }
}

variable "project" {
  description = "Id of the Google Cloud project; not its name, not its number."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project's id, 6 to 30 lower-case letters, digits and hyphens: `gcloud projects list` shows it as PROJECT_ID."
  }
}

variable "region" {
  description = "Google Cloud region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a Google Cloud region, such as europe-west3; a zone (europe-west3-a) is too small."
  }
}

variable "labels" {
  description = "More labels for every resource that takes some; application and managed_by are set already."
  type        = map(string)
  default     = {}
}

# The functions.

variable "package" {
  description = "The functions' zip, as `make package` leaves it."
  type        = string
  default     = "../../../build/gcp.zip"

  validation {
    condition     = fileexists(var.package)
    error_message = "package must be the functions' zip: run `make package`."
  }
}

variable "runtime" {
  description = "Runtime of Cloud Functions that the package was built for; it holds compiled modules, which fit one Python only."
  type        = string
  default     = "python311"

  validation {
    condition     = can(regex("^python3[0-9]+$", var.runtime))
    error_message = "runtime must be a Python runtime of Cloud Functions, such as python311."
  }
}

variable "max_instances" {
  description = "Most instances of the ingest function; each holds a few connections to Postgres (HELIOS_DATABASE_CONNECTIONS)."
  type        = number
  default     = 10

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000
    error_message = "max_instances must be between 1 and 1000."
  }
}

variable "min_instances" {
  description = "Instances of the ingest function that are kept warm. 0 costs nothing while nothing happens and makes the first event wait for a cold start."
  type        = number
  default     = 0

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= 100
    error_message = "min_instances must be between 0 and 100."
  }
}

variable "settings" {
  description = "More settings of Helios, by their variables' names: { HELIOS_LOG_LEVEL = \"DEBUG\" }. See .env.example."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "HELIOS_")])
    error_message = "Each setting's name must begin with HELIOS_; .env.example lists them."
  }
}

# What the AWS root made.

variable "database_url" {
  description = "Postgres, postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=require: the AWS root's output of that name, or any other." # pragma: allowlist secret
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^postgres(ql)?://", var.database_url))
    error_message = "database_url must begin with postgresql://."
  }

  validation {
    condition     = can(regex("[?&]sslmode=(require|verify-ca|verify-full)", var.database_url))
    error_message = "database_url must ask for TLS: add ?sslmode=require, or verify-full."
  }
}

variable "notify_url" {
  description = "Where to ring the relay: the AWS root's output api_url, and /api/v1/relay/notify. Null: events become visible with the relay's schedule, within a minute."
  type        = string
  default     = null

  validation {
    condition     = var.notify_url == null || can(regex("^https://.+/api/v1/relay/notify$", var.notify_url))
    error_message = "notify_url must be https:// and end with /api/v1/relay/notify."
  }
}

variable "notify_secret" {
  description = "What ringing takes: the AWS root's output of that name. Needed with notify_url."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = (var.notify_secret == null) == (var.notify_url == null)
    error_message = "Set notify_url and notify_secret both, or neither."
  }

  validation {
    condition     = var.notify_secret == null || try(length(var.notify_secret) >= 32, false)
    error_message = "notify_secret must have 32 characters or more, as the AWS root makes it."
  }
}

# The cache.

variable "redis_url" {
  description = "An existing Redis or Valkey, rediss://HOST:6379, that the network reaches. Null: Memorystore is made. Keys are per source, so clouds don't share one."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_url == null || can(regex("^rediss://", var.redis_url))
    error_message = "redis_url must begin with rediss:// (TLS)."
  }
}

variable "cache" {
  description = "Memorystore's size in GB, and its tier: BASIC has one node, STANDARD_HA a second one. Losing the cache costs speed, never events. A remembered event takes about 100 bytes for a day."
  type        = object({ gigabytes = number, tier = string })
  default     = { gigabytes = 1, tier = "BASIC" }

  validation {
    condition     = var.cache.gigabytes >= 1 && var.cache.gigabytes <= 300
    error_message = "cache.gigabytes must be between 1 and 300."
  }

  validation {
    condition     = contains(["BASIC", "STANDARD_HA"], var.cache.tier)
    error_message = "cache.tier must be BASIC or STANDARD_HA."
  }
}

# The network.

variable "subnet_cidr" {
  description = "Addresses of the functions' subnet. Each instance takes up to four while it scales."
  type        = string
  default     = "10.41.0.0/24"

  validation {
    condition     = can(cidrnetmask(var.subnet_cidr)) && try(tonumber(split("/", var.subnet_cidr)[1]) <= 26, false)
    error_message = "subnet_cidr must be an IPv4 range of size /26 or larger, such as 10.41.0.0/24: smaller ones are refused by Direct VPC egress."
  }
}

# Delivery.

variable "delivery_attempts" {
  description = "How often Pub/Sub delivers a message before it goes to the dead-letter topic."
  type        = number
  default     = 20

  validation {
    condition     = var.delivery_attempts >= 5 && var.delivery_attempts <= 100
    error_message = "delivery_attempts must be between 5 and 100, which are the limits of Pub/Sub."
  }
}

variable "retention_days" {
  description = "How long messages wait for delivery, and dead ones for a person, in days."
  type        = number
  default     = 7

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 31
    error_message = "retention_days must be between 1 and 31, which are the limits of Pub/Sub."
  }
}

variable "publishers" {
  description = "Who may publish: members such as serviceAccount:shop@PROJECT.iam.gserviceaccount.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.publishers : can(regex("^(user|group|serviceAccount|principal|principalSet):.+", member))])
    error_message = "Each of publishers must be a member, such as serviceAccount:NAME@PROJECT.iam.gserviceaccount.com; everybody (allUsers) may not publish."
  }
}

# Watching.

variable "alarm_email" {
  description = "Who is told of alarms. Null: nobody; they are in the console."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be a mail address."
  }
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` refuses to delete the bucket of packages while it holds some."
  type        = bool
  default     = true
}
