# What is deployed.

variable "name" {
  description = "Prefix of every name. Another one makes a second Helios in the same subscription."
  type        = string
  default     = "helios"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.name))
    error_message = "name must be 2 to 12 lower-case letters and digits and begin with a letter: it becomes a part of a storage account's name, which takes nothing else."
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
  description = "Azure region, in one that offers Flex Consumption: `az functionapp list-flexconsumption-locations` lists them."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+[0-9]?$", var.location))
    error_message = "location must be a region's short name, such as westeurope: no spaces, no capitals."
  }
}

variable "suffix" {
  description = "What makes the names that are unique in all of Azure unique: those of the storage account, the function app, the key vault, the topic and the cache."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,8}$", var.suffix))
    error_message = "suffix must be 3 to 8 lower-case letters and digits of your choice; keep it, or everything is made anew."
  }
}

variable "tags" {
  description = "More tags for every resource; Application and ManagedBy are set already."
  type        = map(string)
  default     = {}
}

# The functions.

variable "package" {
  description = "The functions' zip, as `make package` leaves it."
  type        = string
  default     = "../../../build/azure.zip"

  validation {
    condition     = fileexists(var.package)
    error_message = "package must be the functions' zip: run `make package`."
  }
}

variable "python_version" {
  description = "Python of the function app that the package was built for; it holds compiled modules, which fit one Python only."
  type        = string
  default     = "3.11"

  validation {
    condition     = contains(["3.10", "3.11", "3.12", "3.13"], var.python_version)
    error_message = "python_version must be one that Flex Consumption offers: 3.10 to 3.13."
  }
}

variable "memory" {
  description = "Memory of an instance, in MB. 2048 is what Flex Consumption recommends; 512 is cheaper and has a quarter of the CPU."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 2048, 4096], var.memory)
    error_message = "memory must be 512, 2048 or 4096, the sizes of Flex Consumption."
  }
}

variable "max_instances" {
  description = "Most instances of the function app; each holds a few connections to Postgres (HELIOS_DATABASE_CONNECTIONS). Flex Consumption takes no fewer than 40."
  type        = number
  default     = 40

  validation {
    condition     = var.max_instances >= 40 && var.max_instances <= 1000
    error_message = "max_instances must be between 40 and 1000, which are the limits of Flex Consumption."
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
  description = "An existing Redis or Valkey, rediss://HOST:6379, that the network reaches. Null: Azure Managed Redis is made. Keys are per source, so clouds don't share one."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_url == null || can(regex("^rediss://", var.redis_url))
    error_message = "redis_url must begin with rediss:// (TLS)."
  }
}

variable "cache_sku" {
  description = "Size of Azure Managed Redis. Balanced_B0 has 0.5 GB; a remembered event takes about 100 bytes for a day. Losing the cache costs speed, never events."
  type        = string
  default     = "Balanced_B0"

  validation {
    condition     = can(regex("^(Balanced_B|MemoryOptimized_M|ComputeOptimized_X)[0-9]+$", var.cache_sku))
    error_message = "cache_sku must be one of Azure Managed Redis, such as Balanced_B0 or MemoryOptimized_M10."
  }
}

# The network.

variable "vnet_cidr" {
  description = "Addresses of the network: the functions take its first half, the cache's endpoint the second."
  type        = string
  default     = "10.42.0.0/24"

  validation {
    condition     = can(cidrnetmask(var.vnet_cidr)) && try(tonumber(split("/", var.vnet_cidr)[1]) <= 26, false)
    error_message = "vnet_cidr must be an IPv4 range of size /26 or larger, such as 10.42.0.0/24: Flex Consumption needs a subnet of /27."
  }
}

# Delivery.

variable "delivery_attempts" {
  description = "How often Event Grid delivers an event before it goes to the dead-letter container."
  type        = number
  default     = 30

  validation {
    condition     = var.delivery_attempts >= 1 && var.delivery_attempts <= 30
    error_message = "delivery_attempts must be between 1 and 30, which are the limits of Event Grid."
  }
}

variable "delivery_minutes" {
  description = "How long Event Grid goes on delivering an event, in minutes; whatever ends first, this or the attempts."
  type        = number
  default     = 1440

  validation {
    condition     = var.delivery_minutes >= 1 && var.delivery_minutes <= 1440
    error_message = "delivery_minutes must be between 1 and 1440, which are the limits of Event Grid."
  }
}

variable "dead_letter_days" {
  description = "How long dead letters are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.dead_letter_days >= 1 && var.dead_letter_days <= 3650
    error_message = "dead_letter_days must be between 1 and 3650."
  }
}

variable "publishers" {
  description = "Who may publish: object ids of principals in Entra ID, a name for each."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for id in values(var.publishers) : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", id))])
    error_message = "Each of publishers must be an object id: `az ad sp show --id APP --query id` prints it."
  }
}

variable "publish_with_keys" {
  description = "Whether the topic also takes its access keys, for publishers that have no identity in Entra ID."
  type        = bool
  default     = false
}

# Deployment.

variable "deployers" {
  description = <<-EOT
    Who applies this root, a person or CI: object ids of principals in Entra ID, a name for each. They may write the
    secrets, and publish, for the smoke test. Empty: whoever applies it now, who then takes the place of whoever did before.
  EOT
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for id in values(var.deployers) : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", id))])
    error_message = "Each of deployers must be an object id: `az ad signed-in-user show --query id` prints yours."
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

variable "log_retention_days" {
  description = "How long logs are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730
    error_message = "log_retention_days must be between 30 and 730, which are the limits of Log Analytics."
  }
}
