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
  }

  dynamic "action" {
    for_each = azurerm_monitor_action_group.this

    content {
      action_group_id = action.value.id
    }
  }
}
