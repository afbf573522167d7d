# Alarms, and the email address that gets them.

resource "aws_sns_topic" "this" {
  # checkov:skip=CKV_AWS_26: CloudWatch can't publish to a topic encrypted with AWS' own key; alarms hold no payloads
  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "email" {
  count = var.email == null ? 0 : 1

  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = var.email
}

locals {
  # Each alarm fires when the metric has been above the threshold for this many minutes in a row.
  queues = {
    "dead-letters" = {
      description = "SQS gave up on events. They wait in the dead-letter queue for `.venv/bin/python -m scripts.redrive aws`."
      queue       = var.queues.dead_letters
      metric      = "ApproximateNumberOfMessagesVisible"
      threshold   = 0
      minutes     = 1
    }
    "ingest-lag" = {
      description = "Events wait in the queue: the ingest function is behind, or the database is unavailable."
      queue       = var.queues.events
      metric      = "ApproximateAgeOfOldestMessage"
      threshold   = 60
      minutes     = 3
    }
    "relay-lag" = {
      description = "Notifications wait: stored events do not reach the dashboards."
      queue       = var.queues.relay
      metric      = "ApproximateAgeOfOldestMessage"
      threshold   = 30
      minutes     = 3
    }
  }
  database_alarms = {
    "database-capacity" = {
      description = "Aurora is at its maximum capacity. Raise database_capacity, or find the query."
      metric      = "ACUUtilization"
      statistic   = "Average"
      above       = 90
      minutes     = 10
    }
    "database-connections" = {
      description = "Aurora has many connections: each function in execution holds one."
      metric      = "DatabaseConnections"
      statistic   = "Maximum"
      above       = var.max_connections
      minutes     = 5
    }
    "database-storage" = {
      description = "The events need much storage: remove or archive old ones, or raise storage_alarm_gigabytes."
      metric      = "VolumeBytesUsed"
      statistic   = "Maximum"
      above       = var.storage_gigabytes * 1000 * 1000 * 1000
      minutes     = 60
    }
  }
  network_alarms = {
    "nat-ports" = {
      description = "The NAT gateway had no free port, so that calls to other networks fail. Give it another address, or find what opens the connections."
      namespace   = "AWS/NATGateway"
      metric      = "ErrorPortAllocation"
      statistic   = "Sum"
      above       = 0
      minutes     = 5
      absence     = "notBreaching"
    }
  }
  archive_alarms = {
    "archive" = {
      description = "No event was archived for two days, so that no partition is dropped, and the database grows. The log of the archive function or task has the error."
      namespace   = var.namespace
      metric      = "archive_silent_seconds"
      dimensions  = { service = "sweep" }
      statistic   = "Minimum"
      above       = 2 * 86400
      minutes     = 120 # the first run, after the archive is switched on, comes within an hour
      absence     = "notBreaching"
    }
  }
  # What the services around the functions report, and when that is too much or too little.
  services = merge({
    "api-errors" = {
      description = "The HTTP API answers with 5xx: the api function fails, or Lambda does not run it."
      namespace   = "AWS/ApiGateway"
      metric      = "5xx"
      dimensions  = { ApiId = var.apis.http }
      statistic   = "Sum"
      above       = 5
      minutes     = 5
      absence     = "notBreaching"
    }
    "api-throttled" = {
      description = "The HTTP API answers with 429: clients send more than requests_per_second."
      namespace   = var.namespace
      metric      = aws_cloudwatch_log_metric_filter.throttled.metric_transformation[0].name
      dimensions  = {}
      statistic   = "Sum"
      above       = 10
      minutes     = 5
      absence     = "notBreaching"
    }
    "websocket-errors" = {
      description = "The WebSocket API can't call its function: clients can't connect, and are forgotten."
      namespace   = "AWS/ApiGateway"
      metric      = "IntegrationError"
      dimensions  = { ApiId = var.apis.websocket }
      statistic   = "Sum"
      above       = 5
      minutes     = 5
      absence     = "notBreaching"
    }
    "partitions" = {
      description = "Fewer than two partitions of events are ahead, or the sweep has not run for a quarter of an hour."
      namespace   = var.namespace
      metric      = "partitions_ahead"
      dimensions  = { service = "sweep" }
      statistic   = "Minimum"
      below       = 2
      minutes     = 15
      absence     = "breaching"
    }
    "incidents" = {
      description = "Incidents of the severity error or critical are open. `helios incidents list` shows them."
      namespace   = var.namespace
      metric      = "serious_incidents"
      dimensions  = { service = "sweep" }
      statistic   = "Maximum"
      above       = 0
      minutes     = 5
      absence     = "notBreaching"
    }
    "notifications" = {
      description = "A receiver does not take notifications of incidents. `helios notifications list` shows the errors."
      namespace   = var.namespace
      metric      = "failing_notifications"
      dimensions  = { service = "sweep" }
      statistic   = "Minimum"
      above       = 0
      minutes     = 10
      absence     = "notBreaching"
    }
    }, {
    for name, alarm in local.database_alarms :
    name => merge(alarm, { namespace = "AWS/RDS", dimensions = { DBClusterIdentifier = var.database }, absence = "notBreaching" })
    if var.database != null
    }, {
    for name, alarm in local.network_alarms : name => merge(alarm, { dimensions = { NatGatewayId = one(var.nat_gateways) } })
    if length(var.nat_gateways) > 0
    }, {
    for name, alarm in local.archive_alarms : name => alarm if var.archives
  })
  # Alarms for a function that fails, or that Lambda throttles, for five minutes.
  functions = merge([
    for metric in ["Errors", "Throttles"] : {
      for function in var.functions : "${function}-${lower(metric)}" => { function = function, metric = metric }
    }
  ]...)
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  for_each = local.queues

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/SQS"
  metric_name         = each.value.metric
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching" # an unused queue sends no metrics
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "rule" {
  for_each = var.rules

  alarm_name          = "${var.name}-${each.key}-undelivered"
  alarm_description   = "EventBridge can't reach the targets of the rule ${each.value.RuleName}: a policy or a target has changed."
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = each.value
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

# The ingest function counts these itself: the deliveries are acknowledged, so no metric of AWS shows them.
resource "aws_cloudwatch_metric_alarm" "rejected" {
  alarm_name          = "${var.name}-rejected"
  alarm_description   = "Unreadable events have arrived for a quarter of an hour. They are dead letters in Postgres."
  namespace           = var.namespace
  metric_name         = "rejected"
  dimensions          = { service = "ingest" }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each = local.functions

  alarm_name          = each.key
  alarm_description   = "${each.value.metric} of the function ${each.value.function}."
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = each.value.function }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "service" {
  for_each = local.services

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = 60 * min(each.value.minutes, 5)
  evaluation_periods  = max(1, each.value.minutes / 5)
  comparison_operator = can(each.value.below) ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.below, each.value.above)
  treat_missing_data  = each.value.absence
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

# API Gateway has no metric for 429 alone. Its access log has a line for each.
resource "aws_cloudwatch_log_metric_filter" "throttled" {
  name           = "${var.name}-throttled"
  log_group_name = var.apis.access_log
  pattern        = "{ $.status = \"429\" }"

  metric_transformation {
    namespace     = var.namespace
    name          = "api_throttled"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_budgets_budget" "this" {
  count = var.email == null ? 0 : 1

  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget)
  limit_unit   = "USD"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:Application$%s", var.name)]
  }

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = [var.email]
    }
  }
}

# One page for the question "is it well?": what arrives, what waits, what fails, and what the database does.

data "aws_region" "current" {}

locals {
  lambda   = "AWS/Lambda"
  gateway  = "AWS/ApiGateway"
  database = var.database == null ? "" : var.database

  # Title, statistic and metrics of each widget, in rows of three. A metric is its namespace, its name and its dimensions.
  widgets = concat([
    { title = "Events", statistic = "Sum", metrics = [for status in ["stored", "duplicate", "contradictory", "rejected", "retryable"] : [var.namespace, status, "service", "ingest"]] },
    { title = "Messages that wait", statistic = "Maximum", metrics = [for queue in values(var.queues) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue]] },
    { title = "Age of the oldest message (s)", statistic = "Maximum", metrics = [for queue in [var.queues.events, var.queues.relay] : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue]] },
    { title = "Errors of the functions", statistic = "Sum", metrics = [for function in var.functions : [local.lambda, "Errors", "FunctionName", function]] },
    { title = "Duration of the functions, p99 (ms)", statistic = "p99", metrics = [for function in var.functions : [local.lambda, "Duration", "FunctionName", function]] },
    { title = "Concurrent functions", statistic = "Maximum", metrics = [for function in var.functions : [local.lambda, "ConcurrentExecutions", "FunctionName", function]] },
    { title = "Requests to the API", statistic = "Sum", metrics = concat([for measure in ["Count", "4xx", "5xx"] : [local.gateway, measure, "ApiId", var.apis.http]], [[var.namespace, "api_throttled"]]) },
    { title = "Latency of the API, p99 (ms)", statistic = "p99", metrics = [[local.gateway, "Latency", "ApiId", var.apis.http]] },
    { title = "Live stream", statistic = "Sum", metrics = [for measure in ["ConnectCount", "MessageCount", "IntegrationError"] : [local.gateway, measure, "ApiId", var.apis.websocket]] },
    { title = "Partitions of events ahead", statistic = "Minimum", metrics = [[var.namespace, "partitions_ahead", "service", "sweep"]] },
    { title = "Incidents, and notifications that fail", statistic = "Maximum", metrics = [for measure in ["serious_incidents", "failing_notifications"] : [var.namespace, measure, "service", "sweep"]] },
    ], [
    for title in ["Time since the archive succeeded (s)"] : {
      title     = title
      statistic = "Maximum"
      metrics   = [[var.namespace, "archive_silent_seconds", "service", "sweep"]]
    } if var.archives
    ], [
    for widget in [
      { title = "Capacity of Aurora (ACU, % of the maximum)", metrics = ["ServerlessDatabaseCapacity", "ACUUtilization"] },
      { title = "Connections to Aurora", metrics = ["DatabaseConnections"] },
      { title = "Storage of Aurora (bytes)", metrics = ["VolumeBytesUsed"] },
      { title = "Latency of a commit (ms)", metrics = ["CommitLatency"] },
      ] : {
      title     = widget.title
      statistic = "Maximum"
      metrics   = [for metric in widget.metrics : ["AWS/RDS", metric, "DBClusterIdentifier", local.database]]
    } if var.database != null
    ], [
    for id in var.nat_gateways : {
      title     = "NAT gateway"
      statistic = "Sum"
      metrics   = [for measure in ["ErrorPortAllocation", "ConnectionAttemptCount", "PacketsDropCount"] : ["AWS/NATGateway", measure, "NatGatewayId", id]]
    }
  ])
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for index, widget in local.widgets : {
        type   = "metric"
        x      = 8 * (index % 3)
        y      = 6 * floor(index / 3)
        width  = 8
        height = 6

        properties = {
          title   = widget.title
          region  = data.aws_region.current.id
          stat    = widget.statistic
          period  = 60
          metrics = widget.metrics
        }
      }
    ]
  })
}
