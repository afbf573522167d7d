# Helios on AWS: bus -> queue -> ingest function --notify--> queue -> relay function -> WebSocket API -> dashboard
#                HTTP API -> api function --notify--^          ^-- schedule --> sweep function, replay function

locals {
  is_emulated = var.emulator_endpoint != null

  # The values may hold passwords. Whether they are set is not a secret.
  makes_database      = nonsensitive(var.database_url == null)
  makes_cache         = nonsensitive(var.redis_url == null)
  makes_notify_secret = nonsensitive(var.notify_secret == null)

  # Packages for arm64 are in a separate folder, so that the packages of another processor can't be used.
  packages = var.architecture == "arm64" ? "${var.packages}/arm64" : var.packages

  websocket_stage = "live"
  # Each limit is shorter than the one around it: a statement ends before Lambda ends the call, and the call before SQS
  # delivers its events again. AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": six times the timeout, and the
  # batching window.
  statement_seconds  = var.function_timeout - 2
  batch_window       = 1 # Lambda requires a window for batches of more than 10
  visibility_seconds = coalesce(var.visibility_seconds, 6 * var.function_timeout + local.batch_window)
}

# With a database and a cache elsewhere, nothing needs a private network.
module "network" {
  source = "../modules/aws/network"
  count  = local.makes_database || local.makes_cache ? 1 : 0

  name               = var.name
  cidr               = var.vpc_cidr
  zones              = var.zones
  is_database_public = length(var.database_clients) > 0
  egress_ports       = setunion(var.egress_ports, local.otlp_ports)
  endpoints = {
    sqs            = local.notify
    secretsmanager = { actions = ["secretsmanager:GetSecretValue"], resources = concat([for secret in aws_secretsmanager_secret.settings : secret.arn], local.archive_secrets) }
  }
  s3 = !local.archives_to_bucket ? null : {
    actions   = flatten([for allowed in values(module.archive[0].permissions) : allowed.actions])
    resources = flatten([for allowed in values(module.archive[0].permissions) : allowed.resources])
  }
}

module "database" {
  source = "../modules/aws/database"
  count  = local.makes_database ? 1 : 0

  name                       = var.name
  vpc_id                     = module.network[0].vpc_id
  subnet_ids                 = module.network[0].database_subnet_ids
  function_security_group_id = module.network[0].function_security_group_id
  clients                    = var.database_clients
  major_version              = var.database_major_version
  capacity                   = var.database_capacity
  instances                  = var.database_instances
  backup_days                = var.database_backup_days
  deletion_protection        = var.deletion_protection
  password_version           = var.database_password_version
  log_retention_days         = var.log_retention_days
}

module "cache" {
  source = "../modules/aws/cache"
  count  = local.makes_cache ? 1 : 0

  name                       = var.name
  vpc_id                     = module.network[0].vpc_id
  subnet_ids                 = module.network[0].function_subnet_ids
  function_security_group_id = module.network[0].function_security_group_id
  max_gigabytes              = var.cache_limits.gigabytes
  max_ecpu_per_second        = var.cache_limits.ecpu_per_second
}

# One secret, in which each key is a setting of Helios. A function reads the secret when it starts.

data "aws_secretsmanager_random_password" "notify" {
  count = local.makes_notify_secret ? 1 : 0

  password_length     = 48
  exclude_punctuation = true
}

# The data source generates another password with every plan; this resource keeps the first one.
resource "terraform_data" "notify_secret" {
  count = local.makes_notify_secret ? 1 : 0

  input = data.aws_secretsmanager_random_password.notify[0].random_password

  lifecycle {
    ignore_changes = [input]
  }
}

locals {
  # With an existing database, all roles are the user of its URL.
  database_urls = local.makes_database ? module.database[0].urls : { for role in ["admin", "migrate", "api", "aws", "gcp", "azure"] : role => var.database_url }
  redis_url     = local.makes_cache ? module.cache[0].url : var.redis_url
  notify_secret = local.makes_notify_secret ? terraform_data.notify_secret[0].output : var.notify_secret

  # A secret for each role of the database: the functions of the queues, those that the internet can call, and the sweep,
  # which makes and removes partitions and so needs the tables' owner. Nothing from outside is an input of the sweep.
  secret_roles = { settings = "aws", api-settings = "api", owner-settings = "migrate" }
  secret_settings = {
    for name, role in local.secret_roles : name => jsonencode(merge(var.secret_settings, var.otlp_secret == null ? {} : { HELIOS_OTLP_SECRET = var.otlp_secret }, {
      HELIOS_DATABASE_URL                                                                                                                    = local.database_urls[role]
      HELIOS_REDIS_URL                                                                                                                       = local.redis_url
      HELIOS_NOTIFY_SECRET                                                                                                                   = local.notify_secret
    }))
  }
}

resource "aws_secretsmanager_secret" "settings" {
  # checkov:skip=CKV_AWS_149: Secrets Manager's own key encrypts it; a customer managed key adds cost and no protection from another reader
  # checkov:skip=CKV2_AWS_57: raising database_password_version rotates its content: see README.md
  for_each = local.secret_roles

  name                    = "${var.name}/${each.key}"
  description             = "Secret settings of Helios, as JSON; each key is an environment variable of the functions."
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "settings" {
  for_each = aws_secretsmanager_secret.settings

  secret_id = each.value.id

  # A write-only value: the state does not hold it. A part of its digest is the version, which shows a change.
  secret_string_wo         = local.secret_settings[each.key]
  secret_string_wo_version = nonsensitive(parseint(substr(sha256(local.secret_settings[each.key]), 0, 8), 16))
}

module "events" {
  source = "../modules/aws/events"

  name               = var.name
  visibility_seconds = local.visibility_seconds
  max_receives       = var.max_receives
  archive_days       = var.archive_days
  recoveries         = var.recoveries
}

locals {
  # The emulator serves both APIs under its own paths.
  emulated_apis      = "${coalesce(var.emulator_endpoint, "http://unused")}/_aws/execute-api"
  http_url           = local.is_emulated ? "${local.emulated_apis}/${module.http_api.id}/$default" : module.http_api.endpoint
  websocket_endpoint = local.is_emulated ? "${local.emulated_apis}/${module.websocket_api.id}/${local.websocket_stage}" : module.websocket_api.management_endpoint
  websocket_url      = replace(local.websocket_endpoint, "/^http/", "ws")
  dashboard_origin   = coalesce(var.dashboard_origin, try("https://${module.dashboard[0].domain_name}", null), "http://localhost:5173")
  serves_dashboard   = !local.is_emulated && var.dashboard_origin == null
  metrics_namespace  = "Helios/${var.name}"
  # The packages contain the declarations. The emulator unpacks them into the working folder of a function.
  task_folder = local.is_emulated ? "." : "/var/task"
  declarations = merge(
    var.flows_file == null ? {} : { HELIOS_FLOWS_FILE = "${local.task_folder}/flows.toml" },
    var.sources_file == null ? {} : { HELIOS_SOURCES_FILE = "${local.task_folder}/sources.toml" },
  )
  # Of the functions that notify. The others start without reading the receivers.
  notifications = var.notifications_file == null ? {} : { HELIOS_NOTIFICATIONS_FILE = "${local.task_folder}/notifications.toml" }
  runtime_environment = merge({
    HELIOS_DATABASE_TIMEOUT_SECONDS = tostring(local.statement_seconds)
    POWERTOOLS_METRICS_NAMESPACE    = local.metrics_namespace
    }, var.otlp_url == null ? {} : {
    HELIOS_OTLP_URL      = var.otlp_url
    HELIOS_OTLP_RESOURCE = "service.name=${var.name},cloud.provider=aws"
  }, local.archives ? { HELIOS_ARCHIVE_URL = local.archive_url } : {}, local.declarations, var.settings)

  # The archive: a function fills it unless a task of ECS does, and three others read it. All functions know that there is
  # one: HELIOS_RETENTION drops no events without, and the sweep reports how long its last success is ago.
  archives           = var.archive != null
  archives_by_call   = local.archives && try(var.archive.task, null) == null
  archive_url        = local.archives ? coalesce(var.archive.url, module.archive[0].url) : null
  archives_to_bucket = local.archives && try(var.archive.url, null) == null
  archive_secret     = try(var.archive.secret_arn, null)
  read_secret        = try(coalesce(var.archive.read_secret_arn, var.archive.secret_arn), null)
  archive_secrets    = distinct(compact([local.archive_secret, local.read_secret]))
  archive_readers    = local.archives ? toset(["api", "replay", "sweep"]) : toset([])
  archive_layers     = compact([one(module.archive[*].layer_arn)])
  # Of the functions that read it.
  reading_environment = local.read_secret == null ? {} : { ARCHIVE_SECRET_ID = local.read_secret }
  reading_permissions = merge(
    local.archives_to_bucket ? module.archive[0].reading_permissions : {},
    local.read_secret == null ? {} : { ArchiveCredentials = { actions = ["secretsmanager:GetSecretValue"], resources = [local.read_secret] } },
  )
  reading_megabytes = 1024 # a part of a file that DuckDB reads at once has up to 128 MB, and it needs several times that
  # The collector's port, which the functions' security group must admit.
  otlp_ports = var.otlp_url == null ? [] : [
    tonumber(try(regex("^https?://[^/]*:([0-9]+)", var.otlp_url)[0], startswith(var.otlp_url, "https:") ? "443" : "80"))
  ]
  secrets = {
    for name, version in aws_secretsmanager_secret_version.settings : name => {
      # The version's attribute, so that no function starts before its settings exist.
      HELIOS_SECRET_ID = version.secret_id
      # No code reads this variable. A new version makes Lambda start new functions, which read the secret again.
      HELIOS_SECRET_VERSION = version.version_id
    }
  }

  read_settings = {
    for name, secret in aws_secretsmanager_secret.settings :
    name => { actions = ["secretsmanager:GetSecretValue"], resources = [secret.arn] }
  }
  notify   = { actions = ["sqs:SendMessage"], resources = [module.events.relay_queue.arn] }
  post     = { actions = ["execute-api:ManageConnections"], resources = [module.websocket_api.connections_arn] }
  put_back = { actions = ["events:PutEvents"], resources = [module.events.bus_arn] }
  # AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": the permissions of an event source mapping.
  receive = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]

  # The allowed targets of replay jobs. The API and the function that runs the jobs refuse all others.
  replay_targets = merge(
    length(var.replay_hosts) > 0 ? { HELIOS_REPLAY_HOSTS = join(" ", var.replay_hosts) } : {},
    var.replay_to_bus ? { HELIOS_REPLAY_TOPICS = "aws=${module.events.bus}" } : {},
  )

  # The places of recoveries. The API starts recoveries and the sweep does them, so only the sweep has the permissions.
  recovery_places = "aws-archive=${module.events.archive_arn} aws-queue=${module.events.queue.arn} aws-dead-letters=${module.events.dead_letter_queue.url}"
  recoveries      = var.recoveries ? { HELIOS_RECOVERY_PLACES = local.recovery_places } : {}
  recover = {
    RecoveryReplays = {
      actions   = ["events:DescribeArchive", "events:StartReplay", "events:DescribeReplay", "events:CancelReplay"]
      resources = [module.events.archive_arn, module.events.recovery.replays]
    }
    RecoveryRules = {
      actions   = ["events:PutRule", "events:PutTargets", "events:ListTargetsByRule", "events:RemoveTargets", "events:DeleteRule"]
      resources = [module.events.recovery.rules]
    }
    RecoveryRuleNames = { actions = ["events:ListRules"], resources = [module.events.recovery.any_rules] }
    RecoveryDeadLetters = {
      actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
      resources = [module.events.dead_letter_queue.arn]
    }
  }

  functions = merge(local.standing_functions, { for name, function in local.archive_functions : name => function if local.archives_by_call })

  archive_functions = {
    archive = {
      description = "Copies events to the archive and drops expired partitions, once an hour."
      secret      = "owner-settings"
      environment = local.archive_secret == null ? {} : { ARCHIVE_SECRET_ID = local.archive_secret }
      permissions = merge(
        local.archives_to_bucket ? module.archive[0].permissions : {},
        local.archive_secret == null ? {} : { ArchiveCredentials = { actions = ["secretsmanager:GetSecretValue"], resources = [local.archive_secret] } },
      )
      timeout = 900   # Lambda's maximum; the next call continues what one call leaves
      storage = 10240 # the files of a source and day, and what DuckDB sorts
    }
  }

  standing_functions = {
    ingest = {
      description = "Stores batches of events from the queue, exactly once."
      environment = { HELIOS_RELAY_QUEUE_URL = module.events.relay_queue.url }
      permissions = {
        Notify  = local.notify
        Receive = { actions = local.receive, resources = [module.events.queue.arn] }
      }
    }
    api = {
      description = "Answers webhooks and queries."
      secret      = "api-settings"
      environment = merge(local.replay_targets, local.recoveries, {
        HELIOS_RELAY_QUEUE_URL  = module.events.relay_queue.url
        HELIOS_DASHBOARD_ORIGIN = local.dashboard_origin
        HELIOS_WEBHOOK_AUTH     = var.webhook_auth
      })
      permissions = { Notify = local.notify }
      timeout     = local.archives ? 29 : var.function_timeout # API Gateway gives up after 30; a read of the archive may take longer than others
    }
    websocket = {
      description = "Stores the list of connected clients, and answers their pings."
      secret      = "api-settings"
      environment = {
        HELIOS_WEBSOCKET_ENDPOINT = local.websocket_endpoint
        HELIOS_DASHBOARD_ORIGIN   = local.dashboard_origin
      }
      permissions = { Post = local.post }
    }
    relay = {
      description = "Sends new frames to the connected clients."
      environment = merge(local.notifications, {
        HELIOS_WEBSOCKET_ENDPOINT = local.websocket_endpoint
        HELIOS_RELAY_QUEUE_URL    = module.events.relay_queue.url
      })
      permissions = {
        Notify  = local.notify
        Post    = local.post
        Receive = { actions = local.receive, resources = [module.events.relay_queue.arn] }
      }
      # It stops before one message and one statement could take longer (functions/aws/relay), and this leaves it time.
      timeout = 3 * var.function_timeout
    }
    sweep = {
      description = "Closes overdue flow instances, makes partitions and removes what has expired, once a minute."
      secret      = "owner-settings"
      environment = merge(local.notifications, local.recoveries, { HELIOS_RELAY_QUEUE_URL = module.events.relay_queue.url })
      permissions = merge({ Notify = local.notify }, { for name, allowed in local.recover : name => allowed if var.recoveries })
      timeout     = max(3 * var.function_timeout, local.archives ? 60 : 0) # time for an attempt to notify a receiver that does not answer, or for a read of the archive
    }
    replay = {
      description = "Runs replay jobs, while there are any."
      environment = merge(local.replay_targets, { HELIOS_RELAY_QUEUE_URL = module.events.relay_queue.url })
      permissions = merge({ Notify = local.notify }, var.replay_to_bus ? { PutBack = local.put_back } : {})
      timeout     = 900 # Lambda's maximum; the next call continues what one call leaves
    }
  }
}

module "function" {
  source   = "../modules/aws/function"
  for_each = local.functions

  name               = "${var.name}-${each.key}"
  description        = each.value.description
  package            = "${local.packages}/aws-${each.key}.zip"
  runtime            = var.runtime
  architecture       = var.architecture
  memory             = max(var.memory[each.key], contains(local.archive_readers, each.key) ? local.reading_megabytes : 0)
  timeout            = try(each.value.timeout, var.function_timeout)
  log_retention_days = var.log_retention_days
  environment = merge(
    local.runtime_environment,
    local.secrets[try(each.value.secret, "settings")],
    each.value.environment,
    contains(local.archive_readers, each.key) ? local.reading_environment : {},
  )
  layers = concat(
    contains(["api", "ingest", "replay"], each.key) ? compact([var.otlp_layer]) : [], # those that store batches
    contains(local.archive_readers, each.key) || each.key == "archive" ? local.archive_layers : [],
  )
  permissions = merge(
    { Settings = local.read_settings[try(each.value.secret, "settings")] },
    each.value.permissions,
    contains(local.archive_readers, each.key) ? local.reading_permissions : {},
  )

  permissions_boundary = var.permissions_boundary
  reserved_concurrency = lookup(var.reserved_concurrency, each.key, -1)
  is_scheduled         = contains(local.scheduled, each.key) || each.key == "archive"
  storage              = try(each.value.storage, 512)

  network = length(module.network) == 0 ? null : {
    subnet_ids         = module.network[0].function_subnet_ids
    security_group_ids = [module.network[0].function_security_group_id]
  }
}

resource "aws_lambda_event_source_mapping" "ingest" {
  event_source_arn                   = module.events.queue.arn
  function_name                      = module.function["ingest"].arn
  batch_size                         = 500
  maximum_batching_window_in_seconds = local.batch_window
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.ingest_concurrency
  }
}

resource "aws_lambda_event_source_mapping" "relay" {
  event_source_arn = module.events.relay_queue.arn
  function_name    = module.function["relay"].arn
  batch_size       = 10 # one call handles all waiting notifications: all of them request the same

  scaling_config {
    maximum_concurrency = 2 # Lambda's minimum; only one call at a time holds the relay's lock
  }
}

module "http_api" {
  source = "../modules/aws/http-api"

  name                = "${var.name}-api"
  function            = { name = module.function["api"].name, qualifier = module.function["api"].qualifier, arn = module.function["api"].arn }
  requests_per_second = var.requests_per_second
  log_retention_days  = var.log_retention_days
}

module "websocket_api" {
  source = "../modules/aws/websocket-api"

  name                = "${var.name}-live"
  function            = { name = module.function["websocket"].name, qualifier = module.function["websocket"].qualifier, invoke_arn = module.function["websocket"].invoke_arn }
  stage               = local.websocket_stage
  requests_per_second = var.requests_per_second
}

# The schedule: frames of a lost notification, and replay jobs, wait for a minute at most.

locals {
  scheduled = toset(["relay", "sweep", "replay"])
}

resource "aws_cloudwatch_event_rule" "every_minute" {
  name                = "${var.name}-every-minute"
  description         = "Relay the frames of lost notifications, sweep, and run replay jobs."
  schedule_expression = "rate(1 minute)"
}

resource "aws_cloudwatch_event_target" "every_minute" {
  for_each = local.scheduled

  rule      = aws_cloudwatch_event_rule.every_minute.name
  target_id = "${var.name}-${each.key}"
  arn       = module.function[each.key].arn
}

resource "aws_lambda_permission" "every_minute" {
  for_each = local.scheduled

  statement_id  = aws_cloudwatch_event_rule.every_minute.name
  action        = "lambda:InvokeFunction"
  function_name = module.function[each.key].name
  qualifier     = module.function[each.key].qualifier
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.every_minute.arn
}

module "archive" {
  source = "../modules/aws/archive"
  count  = var.archive == null ? 0 : 1

  name                 = var.name
  cheaper_after_days   = var.archive.cheaper_after_days
  noncurrent_days      = var.archive.noncurrent_days
  task                 = var.archive.task
  layer                = { package = "${local.packages}/aws-archive-layer.zip", runtime = var.runtime, architecture = var.architecture }
  permissions_boundary = var.permissions_boundary
}

resource "aws_cloudwatch_event_rule" "archive" {
  count = local.archives_by_call ? 1 : 0

  name                = "${var.name}-archive"
  description         = "Archive the events of the days that are over, and drop expired partitions."
  schedule_expression = "rate(1 hour)"
}

resource "aws_cloudwatch_event_target" "archive" {
  count = local.archives_by_call ? 1 : 0

  rule      = aws_cloudwatch_event_rule.archive[0].name
  target_id = "${var.name}-archive"
  arn       = module.function["archive"].arn
}

resource "aws_lambda_permission" "archive" {
  count = local.archives_by_call ? 1 : 0

  statement_id  = aws_cloudwatch_event_rule.archive[0].name
  action        = "lambda:InvokeFunction"
  function_name = module.function["archive"].name
  qualifier     = module.function["archive"].qualifier
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.archive[0].arn
}

module "log" {
  source = "../modules/aws/log"
  count  = var.log == null ? 0 : 1

  name       = var.name
  vpc_id     = var.log.vpc_id
  subnet_ids = var.log.subnet_ids
  client_security_group_ids = merge(
    var.log.client_security_group_ids,
    { for flink in module.flink : "managed-flink" => flink.security_group_id },
  )
  kafka_version      = var.log.kafka_version
  instance_type      = var.log.instance_type
  volume_gigabytes   = var.log.volume_gigabytes
  password_version   = var.log.password_version
  log_retention_days = var.log_retention_days
}

module "flink" {
  source = "../modules/aws/flink"
  count  = var.flink == null ? 0 : 1

  name                    = var.name
  vpc_id                  = var.log.vpc_id
  subnet_ids              = var.log.subnet_ids
  code                    = var.flink.code
  runtime                 = var.flink.runtime
  brokers                 = module.log[0].brokers
  secret                  = { arn = module.log[0].secret_arn, key_arn = module.log[0].key_arn }
  log_prefix              = var.flink.log_prefix
  retention               = var.flink.retention
  parallelism             = var.flink.parallelism
  checkpoint_milliseconds = var.flink.checkpoint_milliseconds
  starts                  = var.flink.starts
  log_retention_days      = var.log_retention_days
  permissions_boundary    = var.permissions_boundary
}

module "dashboard" {
  source = "../modules/aws/dashboard"
  count  = local.serves_dashboard ? 1 : 0

  name       = var.name
  connect_to = [module.http_api.endpoint, replace(module.websocket_api.url, "/${local.websocket_stage}", "")]
}

# The emulator returns incomplete alarms, so that every plan would show a difference.
module "watch" {
  source = "../modules/aws/watch"
  count  = local.is_emulated ? 0 : 1

  name           = var.name
  email          = var.alarm_email
  functions      = [for key in keys(local.functions) : "${var.name}-${key}"]
  database       = local.makes_database ? module.database[0].cluster : null
  nat_gateways   = module.network[*].nat_gateway_id
  monthly_budget = var.monthly_budget
  namespace      = local.metrics_namespace

  max_connections   = var.connection_alarm
  storage_gigabytes = var.storage_alarm_gigabytes

  apis = {
    http       = module.http_api.id
    websocket  = module.websocket_api.id
    access_log = module.http_api.access_log
  }

  archives = local.archives

  rules = merge({
    bus      = { EventBusName = module.events.bus, RuleName = module.events.rule }
    schedule = { RuleName = aws_cloudwatch_event_rule.every_minute.name }
  }, { for rule in aws_cloudwatch_event_rule.archive : "archive" => { RuleName = rule.name } })

  queues = {
    events       = module.events.queue.name
    dead_letters = module.events.dead_letter_queue.name
    relay        = module.events.relay_queue.name
  }
}
