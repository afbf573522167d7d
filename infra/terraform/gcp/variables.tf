# The deployment.

variable "name" {
  description = "Prefix of every name. Another name creates a second Helios in the same project."
  type        = string
  default     = "helios"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 20 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen: it becomes part of account names, which have 30 characters at most."
  }
}

variable "project" {
  description = "Id of the Google Cloud project, not its name or number."
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
    error_message = "region must be a Google Cloud region, such as europe-west3; a zone (europe-west3-a) is not a region."
  }
}

variable "labels" {
  description = "Additional labels for every resource that supports them; application and managed_by are always set."
  type        = map(string)
  default     = {}
}

# The functions.

variable "package" {
  description = "Path of the functions' zip, as `make package` builds it."
  type        = string
  default     = "../../../build/gcp.zip"

  validation {
    condition     = fileexists(var.package)
    error_message = "package must be the functions' zip: run `make package`."
  }
}

variable "runtime" {
  description = "Cloud Functions runtime for which the package was built; it contains compiled modules, which need that Python version."
  type        = string
  default     = "python311"

  validation {
    condition     = can(regex("^python3[0-9]+$", var.runtime))
    error_message = "runtime must be a Python runtime of Cloud Functions, such as python311."
  }
}

variable "max_instances" {
  description = "Maximum number of instances of the ingest function; each holds a few connections to Postgres (HELIOS_DATABASE_CONNECTIONS)."
  type        = number
  default     = 10

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000
    error_message = "max_instances must be between 1 and 1000."
  }
}

variable "min_instances" {
  description = "Number of warm instances of the ingest function. A new instance has no connection to the internet for up to a minute: with 0, the first event after a pause waits that long."
  type        = number
  default     = 1

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= 100
    error_message = "min_instances must be between 0 and 100."
  }
}

variable "flows_file" {
  description = "File that declares the flows, for all clouds the same: the packages contain it, by `make package ARGS=--flows=FILE` or by scripts.deploy. Null: the flow that ships with Helios."
  type        = string
  default     = null

  validation {
    condition     = try(fileexists(var.flows_file), true)
    error_message = "flows_file must be a file: see docs/flows.md."
  }
}

variable "sources_file" {
  description = "File that declares sources beside the clouds, for all clouds the same: the packages contain it, by `make package ARGS=--sources=FILE` or by scripts.deploy. Null: no such sources."
  type        = string
  default     = null

  validation {
    condition     = try(fileexists(var.sources_file), true)
    error_message = "sources_file must be a file: see docs/sources.md."
  }
}

variable "settings" {
  description = "Additional settings of Helios, by the names of their environment variables: { HELIOS_LOG_LEVEL = \"DEBUG\" }. See .env.example."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "HELIOS_")])
    error_message = "The name of each setting must begin with HELIOS_. See .env.example for all settings."
  }
}

# Outputs of the AWS root.

variable "otlp_url" {
  description = "Endpoint of an OpenTelemetry collector, such as https://collector.example:4318, to which the functions send a span for each batch (HELIOS_OTLP_URL). The packages must be built with --traces, as scripts.deploy does. Null: no spans."
  type        = string
  default     = null

  validation {
    condition     = var.otlp_url == null || can(regex("^https?://[^/?#]+", var.otlp_url))
    error_message = "otlp_url must be the endpoint of a collector, such as https://collector.example:4318."
  }
}

variable "otlp_secret" {
  description = "Headers with which the collector admits Helios (HELIOS_OTLP_SECRET), as NAME=VALUE,NAME=VALUE with percent-encoded values. Null: none."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.otlp_secret == null || var.otlp_url != null
    error_message = "otlp_secret has no effect without otlp_url: set both, or neither."
  }
}

variable "database_url" {
  description = "URL of Postgres, postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=require: the AWS root's output of that name, or any other." # pragma: allowlist secret
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^postgres(ql)?://", var.database_url))
    error_message = "database_url must begin with postgresql://."
  }

  validation {
    condition     = can(regex("[?&]sslmode=(require|verify-ca|verify-full)", var.database_url))
    error_message = "database_url must require TLS: add ?sslmode=require, or verify-full."
  }
}

variable "notify_url" {
  description = "URL that notifies the relay: the AWS root's output api_url, followed by /api/v1/relay/notify. Null: the relay's schedule makes events visible within a minute."
  type        = string
  default     = null

  validation {
    condition     = var.notify_url == null || can(regex("^https://.+/api/v1/relay/notify$", var.notify_url))
    error_message = "notify_url must begin with https:// and end with /api/v1/relay/notify."
  }
}

variable "notify_secret" {
  description = "Secret for the notifications: the AWS root's output of that name. Required with notify_url."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = (var.notify_secret == null) == (var.notify_url == null)
    error_message = "Set notify_url and notify_secret both, or neither."
  }

  validation {
    condition     = var.notify_secret == null || try(length(var.notify_secret) >= 32, false)
    error_message = "notify_secret must have 32 characters or more, as the AWS root generates it."
  }
}

# The cache.

variable "redis_url" {
  description = "URL of an existing Redis or Valkey, rediss://HOST:6379, that the network reaches. Null: Memorystore is created. Keys are per source, so the clouds need no shared cache."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_url == null || can(regex("^rediss://", var.redis_url))
    error_message = "redis_url must begin with rediss:// (TLS)."
  }
}

variable "cache" {
  description = "Memorystore's size in GB, and its tier: BASIC has one node, STANDARD_HA two. Losing the cache costs speed, never events. A cached event takes about 100 bytes for a day."
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
  description = "IPv4 range of the functions' subnet. Each instance uses up to four addresses while it scales."
  type        = string
  default     = "10.41.0.0/24"

  validation {
    condition     = can(cidrnetmask(var.subnet_cidr)) && try(tonumber(split("/", var.subnet_cidr)[1]) <= 26, false)
    error_message = "subnet_cidr must be an IPv4 range of size /26 or larger, such as 10.41.0.0/24: Direct VPC egress refuses smaller ranges."
  }
}

# Delivery.

variable "delivery_attempts" {
  description = "Number of deliveries after which Pub/Sub moves a message to the dead-letter topic. With the back-off of up to ten minutes, 100 attempts take fifteen hours."
  type        = number
  default     = 100

  validation {
    condition     = var.delivery_attempts >= 5 && var.delivery_attempts <= 100
    error_message = "delivery_attempts must be between 5 and 100, the limits of Pub/Sub."
  }
}

variable "retention_days" {
  description = "Retention of undelivered messages and of dead letters, in days."
  type        = number
  default     = 7

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 31
    error_message = "retention_days must be between 1 and 31, the limits of Pub/Sub."
  }
}

variable "publishers" {
  description = "Members that may publish, such as serviceAccount:shop@PROJECT.iam.gserviceaccount.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.publishers : can(regex("^(user|group|serviceAccount|principal|principalSet):.+", member))])
    error_message = "Each of publishers must be a member, such as serviceAccount:NAME@PROJECT.iam.gserviceaccount.com; allUsers is not allowed."
  }
}

variable "recovery_members" {
  description = "Members that may bring missing events back: the account of `helios serve`, such as serviceAccount:helios@PROJECT.iam.gserviceaccount.com. They may create, seek, read and delete subscriptions of the project, also of other topics that they may attach to. Empty: none."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.recovery_members : can(regex("^(user|group|serviceAccount|principal|principalSet):.+", member))])
    error_message = "Each of recovery_members must be a member, such as serviceAccount:NAME@PROJECT.iam.gserviceaccount.com; allUsers is not allowed."
  }
}

# Monitoring.

variable "alarm_email" {
  description = "Email address for alarms. Null: only the console shows them."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be an email address."
  }
}

variable "billing_account" {
  description = "Id of the billing account of the project, for the budget: `gcloud billing accounts list`. The deployer needs the role Billing Account Costs Manager there. Required with budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", var.billing_account))
    error_message = "billing_account must be an id such as 012345-6789AB-CDEF01: `gcloud billing accounts list` prints it."
  }
}

variable "budget" {
  description = "Monthly budget of the project, in the currency of the billing account. Null: none. Google writes to alarm_email, and to the billing administrators, at 80 % and when the forecast exceeds it."
  type        = number
  default     = null

  validation {
    condition     = try(var.budget >= 1 && floor(var.budget) == var.budget, var.budget == null)
    error_message = "budget must be a whole number, 1 or larger."
  }

  validation {
    condition     = (var.budget == null) == (var.billing_account == null)
    error_message = "Set budget and billing_account both, or neither."
  }
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` refuses to delete the bucket of packages while it contains packages."
  type        = bool
  default     = true
}
