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
      description = "SQS gave up on events. They wait in the dead-letter queue for scripts/deploy/redrive.py."
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
  namespace           = "Helios"
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

resource "aws_cloudwatch_metric_alarm" "database" {
  count = var.database == null ? 0 : 1

  alarm_name          = "${var.name}-database-capacity"
  alarm_description   = "Aurora is at its maximum capacity. Raise database_capacity, or find the query."
  namespace           = "AWS/RDS"
  metric_name         = "ACUUtilization"
  dimensions          = { DBClusterIdentifier = var.database }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 10
  comparison_operator = "GreaterThanThreshold"
  threshold           = 90
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
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
