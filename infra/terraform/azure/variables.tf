# The deployment.

variable "name" {
  description = "Prefix of every name. Another name creates a second Helios in the same subscription."
  type        = string
  default     = "helios"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.name))
    error_message = "name must be 2 to 12 lower-case letters and digits and begin with a letter: it becomes part of a storage account's name, which allows no other characters."
  }
}

variable "subscription_id" {
  description = "Id of the Azure subscription."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.subscription_id))
    error_message = "subscription_id must be a subscription's id: `az account show --query id` prints it."
  }
}

variable "location" {
  description = "Azure region that offers Flex Consumption: `az functionapp list-flexconsumption-locations` lists them."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+[0-9]?$", var.location))
    error_message = "location must be a region's short name, such as westeurope: no spaces, no capitals."
  }
}

variable "suffix" {
  description = "Suffix of the names that must be unique in all of Azure: those of the storage account, the function app, the key vault, the topic and the cache."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,8}$", var.suffix))
    error_message = "suffix must be 3 to 8 lower-case letters and digits of your choice. Do not change it later: Terraform would create everything again."
  }
}

variable "tags" {
  description = "Additional tags for every resource; Application and ManagedBy are always set."
  type        = map(string)
  default     = {}
}

# The functions.

variable "package" {
  description = "Path of the functions' zip, as `make package` builds it."
  type        = string
  default     = "../../../build/azure.zip"

  validation {
    condition     = fileexists(var.package)
    error_message = "package must be the functions' zip: run `make package`."
  }
}

variable "python_version" {
  description = "Python version for which the package was built; it contains compiled modules, which need that version."
  type        = string
  default     = "3.11"

  validation {
    condition     = contains(["3.10", "3.11", "3.12", "3.13"], var.python_version)
    error_message = "python_version must be a version that Flex Consumption offers: 3.10 to 3.13."
  }
}

variable "memory" {
  description = "Memory of an instance, in MB. Flex Consumption recommends 2048; 512 is cheaper and has a quarter of the CPU."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 2048, 4096], var.memory)
    error_message = "memory must be 512, 2048 or 4096, the sizes of Flex Consumption."
  }
}

variable "max_instances" {
  description = "Maximum number of instances of the function app; each holds a few connections to Postgres (HELIOS_DATABASE_CONNECTIONS). The minimum of Flex Consumption is 40."
  type        = number
  default     = 40

  validation {
    condition     = var.max_instances >= 40 && var.max_instances <= 1000
    error_message = "max_instances must be between 40 and 1000, the limits of Flex Consumption."
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
  description = "URL of an existing Redis or Valkey, rediss://HOST:6379, that the network reaches. Null: Azure Managed Redis is created. Keys are per source, so the clouds need no shared cache."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_url == null || can(regex("^rediss://", var.redis_url))
    error_message = "redis_url must begin with rediss:// (TLS)."
  }
}

variable "cache_sku" {
  description = "Size of Azure Managed Redis. Balanced_B0 has 0.5 GB; a cached event takes about 100 bytes for a day. Losing the cache costs speed, never events."
  type        = string
  default     = "Balanced_B0"

  validation {
    condition     = can(regex("^(Balanced_B|MemoryOptimized_M|ComputeOptimized_X)[0-9]+$", var.cache_sku))
    error_message = "cache_sku must be a SKU of Azure Managed Redis, such as Balanced_B0 or MemoryOptimized_M10."
  }
}

# The network.

variable "vnet_cidr" {
  description = "IPv4 range of the network: the functions use the first half, the cache's endpoint the second."
  type        = string
  default     = "10.42.0.0/24"

  validation {
    condition     = can(cidrnetmask(var.vnet_cidr)) && try(tonumber(split("/", var.vnet_cidr)[1]) <= 26, false)
    error_message = "vnet_cidr must be an IPv4 range of size /26 or larger, such as 10.42.0.0/24: Flex Consumption needs a subnet of /27."
  }
}

# Delivery.

variable "delivery_attempts" {
  description = "Number of deliveries after which Event Grid moves an event to the dead-letter container."
  type        = number
  default     = 30

  validation {
    condition     = var.delivery_attempts >= 1 && var.delivery_attempts <= 30
    error_message = "delivery_attempts must be between 1 and 30, the limits of Event Grid."
  }
}

variable "delivery_minutes" {
  description = "How long Event Grid attempts to deliver an event, in minutes. Delivery ends with this time or with the attempts, whichever is first."
  type        = number
  default     = 1440

  validation {
    condition     = var.delivery_minutes >= 1 && var.delivery_minutes <= 1440
    error_message = "delivery_minutes must be between 1 and 1440, the limits of Event Grid."
  }
}

variable "queue" {
  description = <<-EOT
    Whether Event Grid delivers to a storage queue, from which the functions take the events. After failed deliveries,
    Event Grid delays all deliveries to a function for hours; it does not fail on a queue. A queue's message has 64 KB
    in base64: Event Grid moves an event of more than 48 KB to the dead-letter container. False: Event Grid calls the
    function, for events of up to 1 MB.
  EOT
  type        = bool
  default     = true
}

variable "queue_days" {
  description = "Retention of events in the queue, in days. The functions try to store an event for a day, and then move it to the queue events-poison."
  type        = number
  default     = 7

  validation {
    condition     = var.queue_days >= 2 && var.queue_days <= 30
    error_message = "queue_days must be between 2 and 30: the functions need one day for all attempts."
  }
}

variable "dead_letter_days" {
  description = "Retention of dead letters, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.dead_letter_days >= 1 && var.dead_letter_days <= 3650
    error_message = "dead_letter_days must be between 1 and 3650."
  }
}

variable "publishers" {
  description = "Principals that may publish: object ids in Entra ID, by name."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for id in values(var.publishers) : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", id))])
    error_message = "Each of publishers must be an object id: `az ad sp show --id APP --query id` prints it."
  }
}

variable "recovery_readers" {
  description = "Principals that may read Event Grid's dead letters to bring missing events back, such as the identity of `helios serve`: object ids in Entra ID, by name. Empty: none."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for id in values(var.recovery_readers) : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", id))])
    error_message = "Each of recovery_readers must be an object id: `az ad sp show --id APP --query id` prints it."
  }
}

variable "publish_with_keys" {
  description = "Whether the topic also accepts its access keys, for publishers without an identity in Entra ID."
  type        = bool
  default     = false
}

# Deployment.

variable "deployers" {
  description = <<-EOT
    Principals that apply this root, persons or CI: object ids in Entra ID, by name. They may write the secrets, and
    publish for the smoke test. Empty: the identity that applies the root now, which replaces the previous one.
  EOT
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for id in values(var.deployers) : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", id))])
    error_message = "Each of deployers must be an object id: `az ad signed-in-user show --query id` prints yours."
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

variable "budget" {
  description = "Monthly budget of the resource group, in the currency of the subscription. Null: none. Azure sends an e-mail to alarm_email at 80 % and when the forecast exceeds it."
  type        = number
  default     = null

  validation {
    condition     = try(var.budget > 0, var.budget == null)
    error_message = "budget must be larger than 0."
  }

  validation {
    condition     = var.budget == null || var.alarm_email != null
    error_message = "budget needs alarm_email, the address that Azure writes to."
  }
}

variable "log_retention_days" {
  description = "Retention of the logs, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730
    error_message = "log_retention_days must be between 30 and 730, the limits of Log Analytics."
  }
}
