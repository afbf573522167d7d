# Alerts for conditions that need an operator.

locals {
  # By name: the metric, its scope, the threshold above which the alarm fires, and the advice.
  alarms = {
    "dead-letters" = {
      scope     = var.topic_id
      namespace = "Microsoft.EventGrid/topics"
      metric    = "DeadLetteredCount"
      aggregate = "Total"
      threshold = 0
      advice    = "Event Grid gave up on events. They are in the dead-letter container; deadLetterReason of each blob says why."
    }
    "dropped" = {
      scope     = var.topic_id
      namespace = "Microsoft.EventGrid/topics"
      metric    = "DroppedEventCount"
      aggregate = "Total"
      threshold = 0
      advice    = "Event Grid dropped events, and could not write them to the dead-letter container: check whether its identity may still write there."
    }
    "failed-deliveries" = {
      scope     = var.topic_id
      namespace = "Microsoft.EventGrid/topics"
      metric    = "DeliveryAttemptFailCount"
      aggregate = "Total"
      threshold = 10
      advice    = "The ingest function refuses events, which Event Grid delivers again: its log says why."
    }
    "nat-ports" = {
      scope      = var.nat_gateway_id
      namespace  = "Microsoft.Network/natGateways"
      metric     = "SNATConnectionCount"
      aggregate  = "Total"
      threshold  = 0
      dimensions = { ConnectionState = "Failed" }
      advice     = "The NAT gateway had no free port, so that connections to Postgres fail: give it another address, and admit it in AWS' database_clients."
    }
    "exceptions" = {
      scope     = var.insights_id
      namespace = "microsoft.insights/components"
      metric    = "exceptions/count"
      aggregate = "Count"
      threshold = 5
      advice    = "A function raised more than five exceptions in five minutes; Application Insights shows each."
    }
  }
}

locals {
  # By name: the query over the functions' log, whose rows raise the alarm, and the advice. A sampled log shows fewer.
  logged = {
    "rejected" = {
      query  = <<-EOT
        traces
        | extend line = parse_json(message)
        | where line.message == "rejected"
      EOT
      advice = "Unreadable events have arrived: a publisher's mistake. GET /api/v1/dead-letters has the payload, the reason and the field."
    }
    "poisoned" = {
      query  = <<-EOT
        traces
        | where message has "MaxDequeueCount"
      EOT
      advice = "The functions failed to store events for a day. They are in the queue events-poison: repair the database, then run `.venv/bin/python -m scripts.redrive azure`."
    }
  }
}

resource "azurerm_monitor_action_group" "this" {
  count = var.email == null ? 0 : 1

  name                = "${var.name}-alarms"
  resource_group_name = var.place.resource_group
  short_name          = substr(var.name, 0, 12)
  tags                = var.place.tags

  email_receiver {
    name                    = "email"
    email_address           = var.email
    use_common_alert_schema = true
  }
}

resource "azurerm_monitor_metric_alert" "this" {
  for_each = local.alarms

  name                = "${var.name}-${each.key}"
  resource_group_name = var.place.resource_group
  tags                = var.place.tags
  description         = each.value.advice
  scopes              = [each.value.scope]
  severity            = 2
  frequency           = "PT1M"
  window_size         = "PT5M"

  criteria {
    metric_namespace = each.value.namespace
    metric_name      = each.value.metric
    aggregation      = each.value.aggregate
    operator         = "GreaterThan"
    threshold        = each.value.threshold

    dynamic "dimension" {
      for_each = try(each.value.dimensions, {})

      content {
        name     = dimension.key
        operator = "Include"
        values   = [dimension.value]
      }
    }
  }

  dynamic "action" {
    for_each = azurerm_monitor_action_group.this

    content {
      action_group_id = action.value.id
    }
  }
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "this" {
  for_each = local.logged

  name                = "${var.name}-${each.key}"
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags
  description         = each.value.advice
  scopes              = [var.insights_id]
  severity            = 2

  evaluation_frequency    = "PT5M"
  window_duration         = "PT15M"
  auto_mitigation_enabled = true
  skip_query_validation   = true # the table is empty before the first call of a function

  criteria {
    query                   = each.value.query
    time_aggregation_method = "Count"
    operator                = "GreaterThan"
    threshold               = 0
  }

  dynamic "action" {
    for_each = length(azurerm_monitor_action_group.this) > 0 ? [azurerm_monitor_action_group.this[*].id] : []

    content {
      action_groups = action.value
    }
  }
}

# A budget begins on the first day of a month. The month of its creation is stored, so that no later plan differs.
resource "terraform_data" "budget_start" {
  count = var.budget == null ? 0 : 1

  input = formatdate("YYYY-MM-01'T'00:00:00Z", plantimestamp())

  lifecycle {
    ignore_changes = [input]
  }
}

resource "azurerm_consumption_budget_resource_group" "this" {
  count = var.budget == null ? 0 : 1

  name              = var.name
  resource_group_id = var.group_id
  amount            = var.budget
  time_grain        = "Monthly"

  time_period {
    start_date = terraform_data.budget_start[0].output
  }

  notification {
    operator       = "GreaterThan"
    threshold      = 80
    threshold_type = "Actual"
    contact_emails = [var.email]
  }

  notification {
    operator       = "GreaterThan"
    threshold      = 100
    threshold_type = "Forecasted"
    contact_emails = [var.email]
  }
}
