# Helios on AWS: bus -> queue -> ingest function --ring--> queue -> relay function -> WebSocket API -> dashboard
#                HTTP API -> api function --ring--^            ^-- schedule --> sweep function, replays function

locals {
  is_emulated = var.emulator_endpoint != null

  # The values may hold passwords; that they are given at all is no secret.
  makes_database      = nonsensitive(var.database_url == null)
  makes_cache         = nonsensitive(var.redis_url == null)
  makes_notify_secret = nonsensitive(var.notify_secret == null)

  # Those for arm64 lie in a folder of their own, so that the wrong ones can't be taken.
  packages = var.architecture == "arm64" ? "${var.packages}/arm64" : var.packages
  runtime  = coalesce(var.runtime, var.architecture == "arm64" ? "python3.12" : "python3.11")

  websocket_stage    = "live"
  visibility_seconds = coalesce(var.visibility_seconds, 6 * var.function_timeout)
}

# With a database and a cache elsewhere there is nothing to be private with.
module "network" {
  source = "../modules/aws/network"
  count  = local.makes_database || local.makes_cache ? 1 : 0

  name               = var.name
  cidr               = var.vpc_cidr
  zones              = var.zones
  is_database_public = length(var.database_clients) > 0
  egress_ports       = var.egress_ports
  endpoints          = { sqs = local.ring, secretsmanager = local.read_settings }
}

module "database" {
  source = "../modules/aws/database"
  count  = local.makes_database ? 1 : 0

  name                       = var.name
  vpc_id                     = module.network[0].vpc_id
  subnet_ids                 = module.network[0].database_subnet_ids
  function_security_group_id = module.network[0].function_security_group_id
  clients                    = var.database_clients
  engine_version             = var.database_version
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

# Secrets: one, of which each variable is a setting of Helios. A function reads it when it starts.

data "aws_secretsmanager_random_password" "ring" {
  count = local.makes_notify_secret ? 1 : 0

  password_length     = 48
  exclude_punctuation = true
}

# The data source makes another one with every plan; the first is kept.
resource "terraform_data" "notify_secret" {
  count = local.makes_notify_secret ? 1 : 0

  input = data.aws_secretsmanager_random_password.ring[0].random_password

  lifecycle {
    ignore_changes = [input]
  }
}

locals {
  database_url  = local.makes_database ? module.database[0].url : var.database_url
  redis_url     = local.makes_cache ? module.cache[0].url : var.redis_url
  notify_secret = local.makes_notify_secret ? terraform_data.notify_secret[0].output : var.notify_secret

  secret_settings = jsonencode(merge(var.secret_settings, {
    HELIOS_DATABASE_URL  = local.database_url
    HELIOS_REDIS_URL     = local.redis_url
    HELIOS_NOTIFY_SECRET = local.notify_secret
  }))
}

resource "aws_secretsmanager_secret" "settings" {
  # checkov:skip=CKV_AWS_149: Secrets Manager's own key encrypts it; a key of one's own adds cost and no reader
  # checkov:skip=CKV2_AWS_57: what is in it is rotated by raising database_password_version: see README.md
  name                    = "${var.name}/settings"
  description             = "Settings of Helios that are secret, as JSON; each key is a variable of the functions."
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "settings" {
  secret_id = aws_secretsmanager_secret.settings.id

  # Written and never read back, so that the state does not hold it; a part of its digest tells that it has changed.
  secret_string_wo         = local.secret_settings
  secret_string_wo_version = nonsensitive(parseint(substr(sha256(local.secret_settings), 0, 8), 16))
}

module "events" {
  source = "../modules/aws/events"

  name               = var.name
  visibility_seconds = local.visibility_seconds
  max_receives       = var.max_receives
  archive_days       = var.archive_days
}

locals {
  # The emulator serves both APIs below paths of its own.
  emulated_apis       = "${coalesce(var.emulator_endpoint, "http://unused")}/_aws/execute-api"
  http_url            = local.is_emulated ? "${local.emulated_apis}/${module.http_api.id}/$default" : module.http_api.endpoint
  websocket_endpoint  = local.is_emulated ? "${local.emulated_apis}/${module.websocket_api.id}/${local.websocket_stage}" : module.websocket_api.management_endpoint
  websocket_url       = replace(local.websocket_endpoint, "/^http/", "ws")
  dashboard_origin    = coalesce(var.dashboard_origin, try("https://${module.dashboard[0].domain_name}", null), "http://localhost:5173")
  serves_dashboard    = !local.is_emulated && var.dashboard_origin == null
  runtime_environment = merge(var.settings, local.secret)
  secret = {
    # The version's, so that no function starts before its settings are there.
    HELIOS_SECRET_ID = aws_secretsmanager_secret_version.settings.secret_id
    # Read by nobody: another version makes Lambda start new functions, which read the secret again.
    HELIOS_SECRET_VERSION = aws_secretsmanager_secret_version.settings.version_id
  }

  read_settings = { actions = ["secretsmanager:GetSecretValue"], resources = [aws_secretsmanager_secret.settings.arn] }
  ring          = { actions = ["sqs:SendMessage"], resources = [module.events.relay_queue.arn] }
  post          = { actions = ["execute-api:ManageConnections"], resources = [module.websocket_api.connections_arn] }
  put_back      = { actions = ["events:PutEvents"], resources = [module.events.bus_arn] }
  # AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": what a mapping receives with.
  receive = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]

  # Where replay jobs may send to: the API refuses other ones, and so does the function that works on them.
  replay_targets = merge(
    length(var.replay_hosts) > 0 ? { HELIOS_REPLAY_HOSTS = join(" ", var.replay_hosts) } : {},
    var.replay_to_bus ? { HELIOS_REPLAY_TOPICS = "aws=${module.events.bus}" } : {},
  )

  functions = {
    ingest = {
      description = "Stores batches of events from the queue, exactly once."
      environment = { HELIOS_RELAY_QUEUE_URL = module.events.relay_queue.url }
      permissions = {
        Ring    = local.ring
        Receive = { actions = local.receive, resources = [module.events.queue.arn] }
      }
    }
    api = {
      description = "Answers webhooks and queries."
      environment = merge(local.replay_targets, {
        HELIOS_RELAY_QUEUE_URL  = module.events.relay_queue.url
        HELIOS_DASHBOARD_ORIGIN = local.dashboard_origin
        HELIOS_WEBHOOK_AUTH     = var.guards
      })
      permissions = { Ring = local.ring }
    }
    websocket = {
      description = "Keeps the list of those who watch, and answers their pings."
      environment = {
        HELIOS_WEBSOCKET_ENDPOINT = local.websocket_endpoint
        HELIOS_DASHBOARD_ORIGIN   = local.dashboard_origin
      }
      permissions = { Post = local.post }
    }
    relay = {
      description = "Sends what is new to everybody who watches."
      environment = {
        HELIOS_WEBSOCKET_ENDPOINT = local.websocket_endpoint
        HELIOS_RELAY_QUEUE_URL    = module.events.relay_queue.url
      }
      permissions = {
        Ring    = local.ring
        Post    = local.post
        Receive = { actions = local.receive, resources = [module.events.relay_queue.arn] }
      }
    }
    sweep = {
      description = "Does what is overdue, once a minute."
      environment = { HELIOS_RELAY_QUEUE_URL = module.events.relay_queue.url }
      permissions = { Ring = local.ring }
    }
    replays = {
      description = "Works on replay jobs, as long as there are any."
      environment = merge(local.replay_targets, { HELIOS_RELAY_QUEUE_URL = module.events.relay_queue.url })
      permissions = merge({ Ring = local.ring }, var.replay_to_bus ? { PutBack = local.put_back } : {})
      timeout     = 900 # the most that Lambda gives: what a call leaves, the next one goes on with
    }
  }
}

module "function" {
  source   = "../modules/aws/function"
  for_each = local.functions

  name               = "${var.name}-${each.key}"
  description        = each.value.description
  package            = "${local.packages}/aws-${each.key}.zip"
  runtime            = local.runtime
  architecture       = var.architecture
  memory             = var.memory[each.key]
  timeout            = try(each.value.timeout, var.function_timeout)
  log_retention_days = var.log_retention_days
  environment        = merge(local.runtime_environment, each.value.environment)
  permissions        = merge({ Settings = local.read_settings }, each.value.permissions)

  network = length(module.network) == 0 ? null : {
    subnet_ids         = module.network[0].function_subnet_ids
    security_group_ids = [module.network[0].function_security_group_id]
  }
}

resource "aws_lambda_event_source_mapping" "ingest" {
  event_source_arn                   = module.events.queue.arn
  function_name                      = module.function["ingest"].arn
  batch_size                         = 500
  maximum_batching_window_in_seconds = 1 # Lambda asks for a window with batches of more than 10
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.ingest_concurrency
  }
}

resource "aws_lambda_event_source_mapping" "relay" {
  event_source_arn = module.events.relay_queue.arn
  function_name    = module.function["relay"].arn
  batch_size       = 10 # rings that wait are answered together: all of them ask for the same

  scaling_config {
    maximum_concurrency = 2 # the least that there is: only one at a time holds the relay's lock
  }
}

module "http_api" {
  source = "../modules/aws/http-api"

  name                = "${var.name}-api"
  function            = { name = "${var.name}-api", arn = module.function["api"].arn }
  requests_per_second = var.requests_per_second
  log_retention_days  = var.log_retention_days
}

module "websocket_api" {
  source = "../modules/aws/websocket-api"

  name                = "${var.name}-live"
  function            = { name = "${var.name}-websocket", invoke_arn = module.function["websocket"].invoke_arn }
  stage               = local.websocket_stage
  requests_per_second = var.requests_per_second
}

# The schedule: what a lost ring left, and a replay job, lie no longer than a minute.

locals {
  scheduled = toset(["relay", "sweep", "replays"])
}

resource "aws_cloudwatch_event_rule" "every_minute" {
  name                = "${var.name}-every-minute"
  description         = "Relay what a lost ring left, sweep, and work on replay jobs."
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
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.every_minute.arn
}

module "dashboard" {
  source = "../modules/aws/dashboard"
  count  = local.serves_dashboard ? 1 : 0

  name       = var.name
  connect_to = [module.http_api.endpoint, replace(module.websocket_api.url, "/${local.websocket_stage}", "")]
}

# The emulator's alarms come back incomplete, so that every plan would find a difference.
module "watch" {
  source = "../modules/aws/watch"
  count  = local.is_emulated ? 0 : 1

  name           = var.name
  email          = var.alarm_email
  functions      = [for key in keys(local.functions) : "${var.name}-${key}"]
  database       = local.makes_database ? module.database[0].cluster : null
  monthly_budget = var.monthly_budget

  rules = {
    bus      = { EventBusName = module.events.bus, RuleName = module.events.rule }
    schedule = { RuleName = aws_cloudwatch_event_rule.every_minute.name }
  }

  queues = {
    events       = module.events.queue.name
    dead_letters = module.events.dead_letter_queue.name
    relay        = module.events.relay_queue.name
  }
}
