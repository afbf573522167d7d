# The deployment.

variable "name" {
  description = "Prefix of every name. Another name, with another key for the state, creates a second Helios in the same account."
  type        = string
  default     = "helios"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name must be 2 to 20 lower-case letters, digits and hyphens, and begin with a letter: it becomes part of bucket and cluster names."
  }
}

variable "region" {
  description = "AWS region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region's code, such as eu-central-1."
  }
}

variable "tags" {
  description = "Additional tags for every resource; Application and ManagedBy are always set."
  type        = map(string)
  default     = {}
}

variable "emulator_endpoint" {
  description = "An AWS emulator on this machine, http://127.0.0.1:PORT, instead of AWS. Null: AWS."
  type        = string
  default     = null

  validation {
    condition     = var.emulator_endpoint == null || can(regex("^http://(127\\.0\\.0\\.1|localhost):[0-9]+$", var.emulator_endpoint))
    error_message = "emulator_endpoint must be http://127.0.0.1:PORT or http://localhost:PORT: only an emulator on this machine is allowed. Leave it out to deploy to AWS."
  }
}

# The functions.

variable "packages" {
  description = "Folder of the functions' zips, as `make package` builds them."
  type        = string
  default     = "../../../build"

  validation {
    condition     = alltrue([for name in ["ingest", "api", "websocket", "relay", "sweep", "replay"] : fileexists("${var.packages}/${var.architecture == "arm64" ? "arm64/" : ""}aws-${name}.zip")])
    error_message = "packages must be a folder with aws-ingest.zip, aws-api.zip, aws-websocket.zip, aws-relay.zip, aws-sweep.zip and aws-replay.zip: run `make package`. For arm64 they are in its subfolder arm64: run `make package ARGS='--architecture arm64'`."
  }
}

variable "runtime" {
  description = "Lambda runtime for which the zips were built; they contain compiled modules, which need that Python version. Null: python3.11, and python3.12 for arm64, as `make package` builds them."
  type        = string
  default     = null

  validation {
    condition     = var.runtime == null || can(regex("^python3\\.[0-9]+$", var.runtime))
    error_message = "runtime must be a Python runtime of Lambda, such as python3.11."
  }

  validation {
    condition     = var.architecture == "x86_64" || !contains(["python3.9", "python3.10", "python3.11"], coalesce(var.runtime, "python3.12"))
    error_message = "On arm64 runtime must be python3.12 or newer: older ones run on Amazon Linux 2, which is too old for the Postgres driver on arm64."
  }
}

variable "architecture" {
  description = "Processor architecture for which the zips were built; they contain compiled modules, which need that architecture. arm64 costs a fifth less per second; `make package ARGS='--architecture arm64'` builds for it."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64, the one for which the packages were built."
  }
}

variable "memory" {
  description = <<-EOT
    Memory of each function in MB. Lambda assigns CPU in proportion to it (1769 MB is one vCPU): 512 where a person, a
    batch or the stream waits for the answer, 256 elsewhere.
  EOT
  type = object({
    ingest    = optional(number, 512)
    api       = optional(number, 512)
    websocket = optional(number, 256)
    relay     = optional(number, 512)
    sweep     = optional(number, 256)
    replay    = optional(number, 256)
  })
  default = {}

  validation {
    condition     = alltrue([for megabytes in values(var.memory) : megabytes >= 256 && megabytes <= 10240])
    error_message = "Each memory must be between 256 MB, below which the Python dependencies start slowly, and Lambda's 10240 MB."
  }
}

variable "function_timeout" {
  description = "Timeout of one call of each function except the replay function, in seconds. Only in the worst case does one Postgres statement take 10 seconds."
  type        = number
  default     = 10

  validation {
    condition     = var.function_timeout >= 5 && var.function_timeout <= 29
    error_message = "function_timeout must be between 5 and 29 seconds: API Gateway gives up after 30."
  }
}

variable "visibility_seconds" {
  description = "How long SQS waits before it delivers again, in seconds. Null: six times function_timeout, as the AWS Lambda Developer Guide recommends."
  type        = number
  default     = null

  validation {
    condition     = var.visibility_seconds == null || var.emulator_endpoint != null || try(var.visibility_seconds >= 6 * var.function_timeout, false)
    error_message = "visibility_seconds must be at least six times function_timeout, or SQS delivers an event again while a function still processes it. Only with an emulator may it be less."
  }
}

variable "max_receives" {
  description = <<-EOT
    How often SQS delivers an event before it moves the event to the dead-letter queue. Multiplied by visibility_seconds,
    this is how long the database may be unavailable: 720 minutes. An unreadable event is no reason for a lower value:
    Helios stores it as a dead letter in Postgres, and acknowledges it.
  EOT
  type        = number
  default     = 720

  validation {
    condition     = var.max_receives >= 5 && var.max_receives <= 1000
    error_message = "max_receives must be between 5, which covers a short outage, and SQS' own limit of 1000."
  }

  validation {
    condition     = var.max_receives * coalesce(var.visibility_seconds, 6 * var.function_timeout) <= 4 * 24 * 3600
    error_message = "max_receives times visibility_seconds must be at most 4 days, the queue's retention period: otherwise events expire before SQS moves them to the dead-letter queue."
  }
}

variable "ingest_concurrency" {
  description = "Maximum number of concurrent ingest functions; each holds a connection to Postgres. With batches of 500, even a few are fast."
  type        = number
  default     = 10

  validation {
    condition     = var.ingest_concurrency >= 2 && var.ingest_concurrency <= 1000
    error_message = "ingest_concurrency must be between 2 and 1000, the limits of SQS event source mappings."
  }
}

variable "settings" {
  description = "Additional settings of Helios for every function, by the names of their environment variables: { HELIOS_LOG_LEVEL = \"DEBUG\" }. See .env.example."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "HELIOS_")])
    error_message = "The name of each setting must begin with HELIOS_. See .env.example for all settings."
  }
}

variable "secret_settings" {
  description = "Additional secret settings, which are stored in Secrets Manager and not in the functions' environment variables."
  type        = map(string)
  default     = {}
  sensitive   = true

  validation {
    condition     = alltrue([for name in keys(var.secret_settings) : startswith(name, "HELIOS_")])
    error_message = "The name of each setting must begin with HELIOS_. See .env.example for all settings."
  }
}

variable "notify_secret" {
  description = "Secret that the functions of the other clouds send when they notify the relay. Null: one is generated."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.notify_secret == null || try(length(var.notify_secret) >= 32, false)
    error_message = "notify_secret must have 32 characters or more. Leave it out to generate one."
  }
}

variable "replay_hosts" {
  description = "Hosts of webhooks that replay jobs may send stored events to, payloads included; private:HOST for one with a private address, HOST:PORT unless the port is 443. Empty: none."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for host in var.replay_hosts : can(regex("^(private:)?[a-z0-9.-]+(:([0-9]{1,5}|[*]))?$", host))])
    error_message = "Each of replay_hosts must be a host's name in lower case, such as hooks.example.org, with a port unless that is 443, without a path."
  }

  validation {
    condition     = length(var.replay_hosts) == 0 || nonsensitive(contains(keys(var.secret_settings), "HELIOS_REPLAY_SECRET"))
    error_message = "With replay_hosts, set HELIOS_REPLAY_SECRET in secret_settings too: it signs the requests to these hosts."
  }
}

variable "replay_to_bus" {
  description = "Whether replay jobs may put stored events back on the bus, where all its rules match them again."
  type        = bool
  default     = false
}

variable "archive_days" {
  description = "Retention of the bus' archive, in days."
  type        = number
  default     = 14

  validation {
    condition     = var.archive_days >= 1
    error_message = "archive_days must be 1 or more: 0 would retain events, and their cost, indefinitely."
  }
}

# The database.

variable "database_url" {
  description = "URL of an existing Postgres, postgresql://..., that ends with ?sslmode=require or verify-full. Null: an Aurora cluster is created."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.database_url != null || var.emulator_endpoint == null
    error_message = "With emulator_endpoint, set database_url too: the emulator has no Aurora."
  }

  validation {
    condition     = var.database_url == null || can(regex("^postgres(ql)?://", var.database_url))
    error_message = "database_url must begin with postgresql://."
  }

  validation {
    condition     = var.database_url == null || var.emulator_endpoint != null || can(regex("[?&]sslmode=(require|verify-ca|verify-full)", var.database_url))
    error_message = "database_url must require TLS: add ?sslmode=require, or verify-full."
  }
}

variable "database_clients" {
  description = "Clients that may connect to Aurora from outside its VPC, an IPv4 range by name: the fixed egress addresses of the GCP and Azure roots, and yours for the migration. Empty: Aurora has no public address."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for range in values(var.database_clients) : can(cidrnetmask(range)) && try(tonumber(split("/", range)[1]) >= 24, false)])
    error_message = "Each of database_clients must be an IPv4 range of at most 256 addresses, such as 198.51.100.7/32: the database must not be open to the internet."
  }
}

variable "database_version" {
  description = "Version of Aurora PostgreSQL at creation. Aurora applies minor versions automatically; a major version is a separate migration."
  type        = string
  default     = "17.4"

  validation {
    condition     = can(regex("^1[6-9]\\.[0-9]+$", var.database_version))
    error_message = "database_version must be 16.x or newer, such as 17.4."
  }
}

variable "database_capacity" {
  description = "Aurora capacity units (2 GiB of memory each) between which it scales. With a minimum of 0 it pauses after 5 minutes without a connection, but the functions' schedule connects every minute."
  type        = object({ min = number, max = number })
  default     = { min = 0.5, max = 8 }

  validation {
    condition     = var.database_capacity.min >= 0 && var.database_capacity.max >= 1 && var.database_capacity.min <= var.database_capacity.max && var.database_capacity.max <= 256
    error_message = "database_capacity must have 0 <= min <= max and 1 <= max <= 256, in steps of 0.5."
  }
}

variable "database_instances" {
  description = "Number of instances: 1, or 2 for a failover within a minute instead of ten. Events wait in the queues meanwhile."
  type        = number
  default     = 1

  validation {
    condition     = var.database_instances >= 1 && var.database_instances <= 15
    error_message = "database_instances must be between 1 and 15."
  }
}

variable "database_backup_days" {
  description = "Retention of Aurora's backups, in days: how far back it can be restored."
  type        = number
  default     = 7

  validation {
    condition     = var.database_backup_days >= 1 && var.database_backup_days <= 35
    error_message = "database_backup_days must be between 1 and 35."
  }
}

variable "database_password_version" {
  description = "Raise it to set another password for Aurora; the functions read it at their next start."
  type        = number
  default     = 1
}

variable "deletion_protection" {
  description = "Whether Aurora refuses deletion, and its secret can be restored for 30 days."
  type        = bool
  default     = true
}

# The cache.

variable "redis_url" {
  description = "URL of an existing Redis or Valkey, rediss://HOST:6379. Null: ElastiCache Serverless is created. Keys are per source, so the clouds need no shared cache."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_url != null || var.emulator_endpoint == null
    error_message = "With emulator_endpoint, set redis_url too: the emulator has no ElastiCache."
  }

  validation {
    condition     = var.redis_url == null || can(regex("^rediss://", var.redis_url)) || (var.emulator_endpoint != null && can(regex("^redis://", var.redis_url)))
    error_message = "redis_url must begin with rediss:// (TLS); redis:// is allowed with an emulator only."
  }
}

variable "cache_limits" {
  description = "Limits of ElastiCache Serverless: a cached event takes about 100 bytes for a day, so 5 GB are 50 million events a day."
  type        = object({ gigabytes = number, ecpu_per_second = number })
  default     = { gigabytes = 5, ecpu_per_second = 20000 }

  validation {
    condition     = var.cache_limits.gigabytes >= 1 && var.cache_limits.ecpu_per_second >= 1000
    error_message = "cache_limits must be at least 1 gigabyte and 1000 ecpu_per_second, the minimum of ElastiCache Serverless."
  }
}

# The network. It is not created when both the database and the cache exist already.

variable "vpc_cidr" {
  description = "IPv4 range of the VPC."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) <= 18, false)
    error_message = "vpc_cidr must be an IPv4 range of size /18 or larger, such as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "Number of availability zones of the network."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "zones must be 2 or 3: Aurora needs two, ElastiCache Serverless allows no more than three."
  }
}

variable "egress_ports" {
  description = "TCP ports to which functions in the VPC may connect: AWS and the web, Postgres, Valkey. Add the port of an existing database or cache."
  type        = set(number)
  default     = [443, 5432, 6379]

  validation {
    condition     = contains(var.egress_ports, 443) && alltrue([for port in var.egress_ports : port >= 1 && port <= 65535])
    error_message = "egress_ports must be ports from 1 to 65535 and include 443, the port of the AWS APIs."
  }
}

# The APIs.

variable "requests_per_second" {
  description = "Requests per second to the HTTP API, and messages to the WebSocket API; clients that exceed it receive 429."
  type        = number
  default     = 500

  validation {
    condition     = var.requests_per_second >= 1 && var.requests_per_second <= 5000
    error_message = "requests_per_second must be between 1 and 5000: bursts may be twice that, and the account's limit is 10000."
  }
}

variable "dashboard_origin" {
  description = "Origin of the dashboard, https://HOST, if this root does not serve it. Null: a bucket and a CloudFront distribution are created for it."
  type        = string
  default     = null

  validation {
    condition     = var.dashboard_origin == null || can(regex("^https?://[^/]+$", var.dashboard_origin))
    error_message = "dashboard_origin must be an origin as a browser sends it: https://HOST, without a path or a trailing slash."
  }
}

# Monitoring.

variable "log_retention_days" {
  description = "Retention of the logs, in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a retention that CloudWatch offers: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 and so on."
  }
}

variable "alarm_email" {
  description = "Email address for alarms and for the budget. Null: no email, and no budget."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be an email address."
  }
}

variable "monthly_budget" {
  description = "US dollars a month. alarm_email gets an email at 80 % of it, and when the forecast exceeds it."
  type        = number
  default     = 150

  validation {
    condition     = var.monthly_budget > 0
    error_message = "monthly_budget must be more than 0."
  }
}

variable "webhook_auth" {
  description = "Authenticators of each channel of the API (HELIOS_WEBHOOK_AUTH), such as \"pubsub=oidc cloudevents=hmac\". What an authenticator needs goes into settings and secret_settings. By default (\"closed\") the API accepts no webhooks: events arrive through the functions, which need no channel."
  type        = string
  default     = "closed"

  validation {
    condition     = length(trimspace(var.webhook_auth)) > 0
    error_message = "webhook_auth must name the authenticators of each open channel, such as \"pubsub=oidc\", or be \"closed\"."
  }
}
