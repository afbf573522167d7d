# The deployment.

variable "name" {
  description = "Prefix of every name. Another name, with another key for the state, creates a second Helios in the same account."
  type        = string
  default     = "helios"

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.name)) && length(var.name) <= 20
    error_message = "name must be 2 to 20 lower-case letters, digits and single hyphens, begin with a letter and not end with a hyphen: it becomes part of bucket and cluster names."
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
  description = "Lambda runtime for which the zips were built; they contain compiled modules, which need that Python version. `make package` builds for the default, which AWS supports until June 2029."
  type        = string
  default     = "python3.13"

  validation {
    condition     = can(regex("^python3\\.(1[2-9]|[2-9][0-9])$", var.runtime)) || var.emulator_endpoint != null
    error_message = "runtime must be a Python runtime of Lambda on Amazon Linux 2023, python3.12 or newer: Amazon Linux 2 is no longer supported. Only with an emulator may it be older."
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
    Memory of each function in MB. Lambda assigns CPU in proportion to it: 1769 MB is one vCPU. The ingest function has a
    whole one, because it holds locks of the database while it works, and the relay, because it posts to every client;
    512 where a person waits for the answer, 256 elsewhere; the archive function sorts a day of events with up to 1 GB.
    With `archive`, those that read it (api, replay, sweep) have 1024 or more.
  EOT
  type = object({
    ingest    = optional(number, 1769)
    api       = optional(number, 512)
    websocket = optional(number, 256)
    relay     = optional(number, 1769)
    sweep     = optional(number, 256)
    replay    = optional(number, 256)
    archive   = optional(number, 3008)
  })
  default = {}

  validation {
    condition     = alltrue([for megabytes in values(var.memory) : megabytes >= 256 && megabytes <= 10240])
    error_message = "Each memory must be between 256 MB, below which the Python dependencies start slowly, and Lambda's 10240 MB."
  }
}

variable "function_timeout" {
  description = "Timeout of one call of each function except the replay function, in seconds. A statement of Postgres may take 2 seconds less, so that the function reports its timeout before Lambda ends the call."
  type        = number
  default     = 10

  validation {
    condition     = var.function_timeout >= 5 && var.function_timeout <= 29
    error_message = "function_timeout must be between 5 and 29 seconds: API Gateway gives up after 30."
  }
}

variable "visibility_seconds" {
  description = "How long SQS waits before it delivers again, in seconds. Null: six times function_timeout and the batching window of a second, as the AWS Lambda Developer Guide recommends."
  type        = number
  default     = null

  validation {
    condition     = var.visibility_seconds == null || var.emulator_endpoint != null || try(var.visibility_seconds > 6 * var.function_timeout, false)
    error_message = "visibility_seconds must be more than six times function_timeout, or SQS delivers an event again while a function still processes it. Only with an emulator may it be less."
  }
}

variable "max_receives" {
  description = <<-EOT
    How often SQS delivers an event before it moves the event to the dead-letter queue. Multiplied by visibility_seconds,
    this is how long the database may be unavailable: twelve hours. An unreadable event is no reason for a lower value:
    Helios stores it as a dead letter in Postgres, and acknowledges it.
  EOT
  type        = number
  default     = 720

  validation {
    condition     = var.max_receives >= 5 && var.max_receives <= 1000
    error_message = "max_receives must be between 5, which covers a short outage, and SQS' own limit of 1000."
  }

  validation {
    condition     = var.max_receives * coalesce(var.visibility_seconds, 6 * var.function_timeout + 1) <= 4 * 24 * 3600
    error_message = "max_receives times visibility_seconds must be at most 4 days, the queue's retention period: otherwise events expire before SQS moves them to the dead-letter queue."
  }
}

variable "ingest_concurrency" {
  description = "Maximum number of concurrent ingest functions; each holds a connection to Postgres. With batches of 500, even a few are fast. A new AWS account may run 10 functions at once, of which the API and the relay need some."
  type        = number
  default     = 5

  validation {
    condition     = var.ingest_concurrency >= 2 && var.ingest_concurrency <= 1000
    error_message = "ingest_concurrency must be between 2 and 1000, the limits of SQS event source mappings."
  }
}

variable "reserved_concurrency" {
  description = "Concurrent executions by function that Lambda reserves for it, and limits it to: { api = 50 } bounds the connections to Postgres. `deploy` sets this where the account has enough; an account must keep 100 unreserved."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for name, count in var.reserved_concurrency : contains(["ingest", "api", "websocket", "relay", "sweep", "replay", "archive"], name) && count >= 2])
    error_message = "reserved_concurrency must map names of functions (ingest, api, websocket, relay, sweep, replay, archive) to 2 or more: 0 would stop a function."
  }
}

variable "permissions_boundary" {
  description = "ARN of the policy that limits what any role of this deployment may do; `bootstrap_aws` creates it, and the deploying role may create roles only with it. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:policy/", var.permissions_boundary))
    error_message = "permissions_boundary must be the ARN of an IAM policy, such as arn:aws:iam::123456789012:policy/boundary-helios."
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

variable "notifications_file" {
  description = "File with the receivers of notifications about incidents, which are webhooks: the packages contain it, by `make package ARGS=--notifications=FILE` or by scripts.deploy. The relay and the sweep notify them, for all clouds. Null: no function notifies."
  type        = string
  default     = null

  validation {
    condition     = try(fileexists(var.notifications_file), true)
    error_message = "notifications_file must be a file: see docs/incidents.md."
  }

  validation {
    condition     = var.notifications_file == null || nonsensitive(contains(keys(var.secret_settings), "HELIOS_NOTIFICATION_SECRETS"))
    error_message = "With notifications_file, set HELIOS_NOTIFICATION_SECRETS in secret_settings too: a secret for each receiver."
  }
}

variable "settings" {
  description = "Additional settings of Helios for every function, by the names of their environment variables: { HELIOS_LOG_LEVEL = \"DEBUG\" }. See .env.example."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "HELIOS_") || startswith(name, "OPENTELEMETRY_COLLECTOR_")])
    error_message = "The name of each setting must begin with HELIOS_, or with OPENTELEMETRY_COLLECTOR_ for the layer of otlp_layer. See .env.example for the settings of Helios."
  }

  validation {
    condition     = try(tonumber(var.settings["HELIOS_DATABASE_TIMEOUT_SECONDS"]), 0) < var.function_timeout
    error_message = "HELIOS_DATABASE_TIMEOUT_SECONDS must be less than function_timeout: Lambda would end a call before Postgres ends its statement. Leave it out for function_timeout - 2."
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

variable "otlp_layer" {
  description = "ARN of the version of a layer with a collector, such as OpenTelemetry's or Amazon's, for the functions that send spans; otlp_url is then http://localhost:4318. It makes Lambda announce the end of an environment, so that its last span is sent. Null: no layer."
  type        = string
  default     = null

  validation {
    condition     = var.otlp_layer == null || can(regex("^arn:[^:]+:lambda:[^:]+:[^:]+:layer:[^:]+:[0-9]+$", var.otlp_layer))
    error_message = "otlp_layer must be the ARN of a version of a layer, such as arn:aws:lambda:eu-central-1:123456789012:layer:collector:1."
  }

  validation {
    condition     = var.otlp_layer == null || var.otlp_url != null
    error_message = "otlp_layer has no effect without otlp_url: set both, or neither."
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

variable "recoveries" {
  description = "Whether Helios may bring missing legs back: from the bus' archive, by a rule of its own that only one replay matches, and from the dead-letter queue."
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

variable "database_major_version" {
  description = "Major version of Aurora PostgreSQL. The newest minor version is created, and Aurora applies later ones automatically; another major version is a separate migration."
  type        = number
  default     = 17

  validation {
    condition     = contains([16, 17, 18], var.database_major_version)
    error_message = "database_major_version must be 16, 17 or 18."
  }
}

variable "database_capacity" {
  description = "Aurora capacity units (2 GiB of memory each) between which it scales. With a minimum of 0 it pauses after 5 minutes without a connection, but the functions' schedule connects every minute. From a minimum of 2, Performance Insights is on, which needs that memory; take 2 or more for production, because Aurora scales up more slowly from less."
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

variable "log" {
  description = "Amazon MSK for the engine of Flink: docs/log.md. Null: Postgres judges, and there is no log."
  type = object({
    vpc_id                    = string
    subnet_ids                = list(string)
    client_security_group_ids = map(string)
    kafka_version             = optional(string, "3.9.x.kraft")
    instance_type             = optional(string, "kafka.m7g.large")
    volume_gigabytes          = optional(number, 1000)
    password_version          = optional(number, 1)
  })
  default = null

  validation {
    condition     = var.log == null || try(length(var.log.subnet_ids) == 3 && var.log.volume_gigabytes >= 1, false)
    error_message = "log.subnet_ids must name three subnets in three zones, and log.volume_gigabytes must be at least 1."
  }
}

variable "flink" {
  description = "The job on Amazon Managed Service for Apache Flink, beside the log: docs/flink.md. Null: the job runs elsewhere, or Postgres judges."
  type = object({
    code = object({
      bucket_arn = string
      key        = string
      version    = optional(string)
    })
    runtime                 = optional(string, "FLINK-2_3")
    log_prefix              = optional(string, "helios")
    retention               = optional(string, "")
    parallelism             = optional(number, 1)
    checkpoint_milliseconds = optional(number, 1000)
    starts                  = optional(bool, false)
  })
  default = null

  validation {
    condition     = var.flink == null || var.log != null
    error_message = "flink reads the log: set log, too."
  }

  validation {
    condition     = var.flink == null || try(startswith(var.flink.runtime, "FLINK-2_"), false)
    error_message = "flink.runtime must be a version from FLINK-2_2 on: the job uses the API of Flink 2."
  }

  validation {
    condition     = var.flink == null || try(var.flink.parallelism >= 1 && var.flink.checkpoint_milliseconds >= 500, false)
    error_message = "flink.parallelism must be at least 1, and flink.checkpoint_milliseconds at least 500."
  }
}

variable "archive" {
  description = <<-EOT
    A bucket for archived events, and a function that fills it once an hour. Null: no archive. `url` names another target,
    gs://bucket/prefix or az://container/prefix, and `secret_arn` the secret with its credentials: a JSON object of
    environment variables, such as AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_SAS_TOKEN. `task` is a task of ECS that
    runs `helios archive run` once a day in place of the function, for days that take longer than its 15 minutes. The API,
    the replays and the sweep read the archive; `read_secret_arn` is a secret for them whose credentials only read.
  EOT
  type = object({
    cheaper_after_days = optional(number, 30)
    noncurrent_days    = optional(number, 30)
    url                = optional(string)
    secret_arn         = optional(string)
    read_secret_arn    = optional(string)
    task = optional(object({
      cluster_arn         = string
      task_definition_arn = string
      role_arns           = list(string)
      subnet_ids          = list(string)
      security_group_ids  = list(string)
    }))
  })
  default = null

  validation {
    condition     = var.archive == null || try(var.archive.cheaper_after_days >= 0 && var.archive.noncurrent_days >= 1, false)
    error_message = "archive.cheaper_after_days must be at least 0, and archive.noncurrent_days at least 1."
  }

  validation {
    condition     = try(var.archive.url, null) == null || can(regex("^(s3|gs|az)://[^/]+", var.archive.url))
    error_message = "archive.url must be s3://bucket/prefix, gs://bucket/prefix or az://container/prefix: a function has no folder that outlives it."
  }

  validation {
    condition     = alltrue([for arn in compact([try(var.archive.secret_arn, null), try(var.archive.read_secret_arn, null)]) : can(regex("^arn:aws[a-z-]*:secretsmanager:", arn))])
    error_message = "archive.secret_arn and archive.read_secret_arn must be ARNs of secrets in Secrets Manager."
  }

  validation {
    condition     = var.archive == null || alltrue([for name in ["aws-archive", "aws-archive-layer"] : fileexists("${var.packages}/${var.architecture == "arm64" ? "arm64/" : ""}${name}.zip")])
    error_message = "With archive, packages must have aws-archive.zip and aws-archive-layer.zip too: run `make package`."
  }
}

variable "database_password_version" {
  description = "Raise it to set other passwords for Aurora, and deploy; the functions read them at their next start."
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

variable "connection_alarm" {
  description = "Connections to Aurora that trigger an alarm. With the default database_capacity Aurora accepts 1669."
  type        = number
  default     = 500

  validation {
    condition     = var.connection_alarm >= 10
    error_message = "connection_alarm must be 10 or more: the functions at rest hold a few connections."
  }
}

variable "storage_alarm_gigabytes" {
  description = "Storage of Aurora, in GB, that triggers an alarm: 100 events of 1 KB a second need about 600 GB a month."
  type        = number
  default     = 200

  validation {
    condition     = var.storage_alarm_gigabytes >= 1
    error_message = "storage_alarm_gigabytes must be 1 or more."
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
