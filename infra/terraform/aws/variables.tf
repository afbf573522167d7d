# What is deployed.

variable "name" {
  description = "Prefix of every name. Another one, with another key for the state, makes a second Helios in the same account."
  type        = string
  default     = "helios"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name must be 2 to 20 lower-case letters, digits and hyphens, and begin with a letter: it becomes a part of bucket and cluster names."
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
  description = "More tags for every resource; Application and ManagedBy are set already."
  type        = map(string)
  default     = {}
}

variable "emulator_endpoint" {
  description = "An AWS emulator on this machine, http://127.0.0.1:PORT, instead of AWS. Null: AWS."
  type        = string
  default     = null

  validation {
    condition     = var.emulator_endpoint == null || can(regex("^http://(127\\.0\\.0\\.1|localhost):[0-9]+$", var.emulator_endpoint))
    error_message = "emulator_endpoint must be http://127.0.0.1:PORT or http://localhost:PORT: what is elsewhere is no emulator of yours. Leave it out to deploy to AWS."
  }
}

# The functions.

variable "packages" {
  description = "Folder of the functions' zips, as `make package` leaves them."
  type        = string
  default     = "../../../build"

  validation {
    condition     = alltrue([for name in ["ingest", "api", "websocket", "relay", "sweep", "replays"] : fileexists("${var.packages}/${var.architecture == "arm64" ? "arm64/" : ""}aws-${name}.zip")])
    error_message = "packages must be a folder with aws-ingest.zip, aws-api.zip, aws-websocket.zip, aws-relay.zip, aws-sweep.zip and aws-replays.zip: run `make package`. For arm64 they are in its folder arm64: run `make package ARGS='--architecture arm64'`."
  }
}

variable "runtime" {
  description = "Lambda runtime that the zips were built for; they hold compiled modules, which fit one Python only. Null: python3.11, and python3.12 for arm64, as `make package` builds them."
  type        = string
  default     = null

  validation {
    condition     = var.runtime == null || can(regex("^python3\\.[0-9]+$", var.runtime))
    error_message = "runtime must be a Python runtime of Lambda, such as python3.11."
  }

  validation {
    condition     = var.architecture == "x86_64" || !contains(["python3.9", "python3.10", "python3.11"], coalesce(var.runtime, "python3.12"))
    error_message = "On arm64 runtime must be python3.12 or newer: those before run on Amazon Linux 2, which is too old for the driver of Postgres there."
  }
}

variable "architecture" {
  description = "Processor that the zips were built for; they hold compiled modules, which fit one processor only. arm64 costs a fifth less per second; `make package ARGS='--architecture arm64'` builds for it."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64, whichever the packages were built for."
  }
}

variable "memory" {
  description = <<-EOT
    Memory of each function in MB. Lambda gives CPU in proportion (1769 MB are a whole one), and that decides: 512 where
    a person, a batch or the stream waits for the answer, 256 elsewhere.
  EOT
  type = object({
    ingest    = optional(number, 512)
    api       = optional(number, 512)
    websocket = optional(number, 256)
    relay     = optional(number, 512)
    sweep     = optional(number, 256)
    replays   = optional(number, 256)
  })
  default = {}

  validation {
    condition     = alltrue([for megabytes in values(var.memory) : megabytes >= 256 && megabytes <= 10240])
    error_message = "Each memory must be between 256 MB, below which the Python dependencies start slowly, and Lambda's 10240 MB."
  }
}

variable "function_timeout" {
  description = "Longest time for one call of a function but the one of replays, in seconds; a statement in Postgres may take 10 by itself only in the worst case."
  type        = number
  default     = 10

  validation {
    condition     = var.function_timeout >= 5 && var.function_timeout <= 29
    error_message = "function_timeout must be between 5 and 29 seconds: API Gateway gives up after 30."
  }
}

variable "visibility_seconds" {
  description = "How long SQS waits before it delivers again. Null: six times function_timeout, as the AWS Lambda Developer Guide asks for."
  type        = number
  default     = null

  validation {
    condition     = var.visibility_seconds == null || var.emulator_endpoint != null || try(var.visibility_seconds >= 6 * var.function_timeout, false)
    error_message = "visibility_seconds must be at least six times function_timeout, or SQS delivers what is still being worked on. Only an emulator may wait less."
  }
}

variable "max_receives" {
  description = <<-EOT
    How often SQS hands an event over before it gives up and keeps it in the dead-letter queue; times visibility_seconds,
    that is how long the database may be away: 720 minutes. What can't be read is no reason to give up early: Helios
    stores it as a dead letter of its own, and acknowledges it.
  EOT
  type        = number
  default     = 720

  validation {
    condition     = var.max_receives >= 5 && var.max_receives <= 1000
    error_message = "max_receives must be between 5, which a short outage takes, and SQS' own limit of 1000."
  }

  validation {
    condition     = var.max_receives * coalesce(var.visibility_seconds, 6 * var.function_timeout) <= 4 * 24 * 3600
    error_message = "max_receives times visibility_seconds must be at most the 4 days that the queue keeps events: they would be lost before SQS gives up on them."
  }
}

variable "ingest_concurrency" {
  description = "Most ingest functions at work at the same time; each holds a connection to Postgres. Batches of 500 make even a few of them fast."
  type        = number
  default     = 10

  validation {
    condition     = var.ingest_concurrency >= 2 && var.ingest_concurrency <= 1000
    error_message = "ingest_concurrency must be between 2 and 1000, which are the limits of SQS mappings."
  }
}

variable "settings" {
  description = "More settings of Helios for every function, by their variables' names: { HELIOS_LOG_LEVEL = \"DEBUG\" }. See .env.example."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "HELIOS_")])
    error_message = "Each setting's name must begin with HELIOS_; .env.example lists them."
  }
}

variable "secret_settings" {
  description = "The same for what is secret: it goes into Secrets Manager and not into the functions' variables."
  type        = map(string)
  default     = {}
  sensitive   = true

  validation {
    condition     = alltrue([for name in keys(var.secret_settings) : startswith(name, "HELIOS_")])
    error_message = "Each setting's name must begin with HELIOS_; .env.example lists them."
  }
}

variable "notify_secret" {
  description = "What the functions of the other clouds show when they ring the relay. Null: one is made."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.notify_secret == null || try(length(var.notify_secret) >= 32, false)
    error_message = "notify_secret must have 32 characters or more; leave it out and one is made."
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
    error_message = "With replay_hosts, set HELIOS_REPLAY_SECRET in secret_settings too: what is sent there is signed."
  }
}

variable "replay_to_bus" {
  description = "Whether replay jobs may put stored events back on the bus, where all its rules see them again."
  type        = bool
  default     = false
}

variable "archive_days" {
  description = "How long the bus' archive keeps events, in days."
  type        = number
  default     = 14

  validation {
    condition     = var.archive_days >= 1
    error_message = "archive_days must be 1 or more: 0 would keep events, and their cost, for ever."
  }
}

# The database.

variable "database_url" {
  description = "An existing Postgres, as a postgresql:// URL that ends with ?sslmode=require or verify-full. Null: an Aurora cluster is made."
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
    error_message = "database_url must ask for TLS: add ?sslmode=require, or verify-full."
  }
}

variable "database_clients" {
  description = "Who may connect to Aurora from outside of its VPC, a name for each IPv4 range: the fixed egress addresses of the GCP and Azure roots, and yours for the migration. Empty: it has no public address."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for range in values(var.database_clients) : can(cidrnetmask(range)) && try(tonumber(split("/", range)[1]) >= 24, false)])
    error_message = "Each of database_clients must be an IPv4 range of at most 256 addresses, such as 198.51.100.7/32: a database is not opened to the internet."
  }
}

variable "database_version" {
  description = "Aurora PostgreSQL's version when it is made; minor versions follow by themselves, a major one is a migration of its own."
  type        = string
  default     = "17.4"

  validation {
    condition     = can(regex("^1[6-9]\\.[0-9]+$", var.database_version))
    error_message = "database_version must be 16.x or newer, such as 17.4."
  }
}

variable "database_capacity" {
  description = "Aurora capacity units (2 GiB of memory each) that it scales between. With a minimum of 0 it sleeps when nobody calls for 5 minutes, but the functions' schedule calls every minute."
  type        = object({ min = number, max = number })
  default     = { min = 0.5, max = 8 }

  validation {
    condition     = var.database_capacity.min >= 0 && var.database_capacity.max >= 1 && var.database_capacity.min <= var.database_capacity.max && var.database_capacity.max <= 256
    error_message = "database_capacity must have 0 <= min <= max and 1 <= max <= 256, in steps of 0.5."
  }
}

variable "database_instances" {
  description = "1, or 2 for a failover within a minute instead of ten. Events wait in the queues meanwhile."
  type        = number
  default     = 1

  validation {
    condition     = var.database_instances >= 1 && var.database_instances <= 15
    error_message = "database_instances must be between 1 and 15."
  }
}

variable "database_backup_days" {
  description = "How far back Aurora can be restored, in days."
  type        = number
  default     = 7

  validation {
    condition     = var.database_backup_days >= 1 && var.database_backup_days <= 35
    error_message = "database_backup_days must be between 1 and 35."
  }
}

variable "database_password_version" {
  description = "Raise it to give Aurora another password; the functions read it when they next start."
  type        = number
  default     = 1
}

variable "deletion_protection" {
  description = "Whether Aurora refuses to be destroyed and its secret can be restored for 30 days."
  type        = bool
  default     = true
}

# The cache.

variable "redis_url" {
  description = "An existing Redis or Valkey, rediss://HOST:6379. Null: ElastiCache Serverless is made. Keys are per source, so clouds don't share one."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_url != null || var.emulator_endpoint == null
    error_message = "With emulator_endpoint, set redis_url too: the emulator has no ElastiCache."
  }

  validation {
    condition     = var.redis_url == null || can(regex("^rediss://", var.redis_url)) || (var.emulator_endpoint != null && can(regex("^redis://", var.redis_url)))
    error_message = "redis_url must begin with rediss:// (TLS); redis:// will do with an emulator only."
  }
}

variable "cache_limits" {
  description = "Most that ElastiCache Serverless may store and do: a remembered event takes about 100 bytes for a day, so 5 GB are 50 million events a day."
  type        = object({ gigabytes = number, ecpu_per_second = number })
  default     = { gigabytes = 5, ecpu_per_second = 20000 }

  validation {
    condition     = var.cache_limits.gigabytes >= 1 && var.cache_limits.ecpu_per_second >= 1000
    error_message = "cache_limits must be at least 1 gigabyte and 1000 ecpu_per_second, the least that ElastiCache Serverless takes."
  }
}

# The network; there is none when both the database and the cache exist already.

variable "vpc_cidr" {
  description = "Addresses of the VPC."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) <= 18, false)
    error_message = "vpc_cidr must be an IPv4 range of size /18 or larger, such as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "How many availability zones the network spans."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "zones must be 2 or 3: Aurora needs two, ElastiCache Serverless takes no more than three."
  }
}

variable "egress_ports" {
  description = "TCP ports that functions in the VPC may call: AWS and the web, Postgres, Valkey. An existing database or cache may be on another."
  type        = set(number)
  default     = [443, 5432, 6379]

  validation {
    condition     = contains(var.egress_ports, 443) && alltrue([for port in var.egress_ports : port >= 1 && port <= 65535])
    error_message = "egress_ports must be ports from 1 to 65535, and 443 has to be among them: it is AWS' own."
  }
}

# The edges.

variable "requests_per_second" {
  description = "Requests to the HTTP API, and messages to the WebSocket API, beyond which clients are answered 429."
  type        = number
  default     = 500

  validation {
    condition     = var.requests_per_second >= 1 && var.requests_per_second <= 5000
    error_message = "requests_per_second must be between 1 and 5000: bursts may be twice that, and an account has 10000."
  }
}

variable "dashboard_origin" {
  description = "Where the dashboard is served, https://HOST, if not by this root. Null: a bucket and a CloudFront distribution are made for it."
  type        = string
  default     = null

  validation {
    condition     = var.dashboard_origin == null || can(regex("^https?://[^/]+$", var.dashboard_origin))
    error_message = "dashboard_origin must be an origin as a browser spells it: https://HOST, without a path or a slash at the end."
  }
}

# Watching.

variable "log_retention_days" {
  description = "How long logs are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one that CloudWatch offers: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 and so on."
  }
}

variable "alarm_email" {
  description = "Who is told of alarms and of the budget. Null: nobody, and there is no budget."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be a mail address."
  }
}

variable "monthly_budget" {
  description = "US dollars a month; alarm_email is told at 80 % of it and when the forecast exceeds it."
  type        = number
  default     = 150

  validation {
    condition     = var.monthly_budget > 0
    error_message = "monthly_budget must be more than 0."
  }
}

variable "guards" {
  description = "Which guard stands at which way in of the API (HELIOS_WEBHOOK_AUTH), such as \"pubsub=oidc cloudevents=hmac\"; what a guard checks with goes into settings and secret_settings. Nobody is let in by default: closed opens no way in, and the functions take in every event without one; what opens any has to be written here."
  type        = string
  default     = "closed"

  validation {
    condition     = length(trimspace(var.guards)) > 0
    error_message = "Write which guard stands at which way in, such as \"pubsub=oidc\", or \"closed\"."
  }
}
