# Alerting policies for conditions that need an operator.

locals {
  functions = join(" OR ", [for name in var.functions : "resource.labels.service_name = \"${name}\""])

  # By name: the metric, its aggregation, the threshold above which the alarm fires, and the advice.
  alarms = {
    "dead-letters" = {
      filter    = "metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${var.dead_letter_subscription}\""
      aligner   = "ALIGN_MAX"
      threshold = 0
      advice    = "Pub/Sub gave up on messages. They wait in ${var.dead_letter_subscription}; pull a message to inspect it, and look for the error in the ingest function's log."
    }
    "oldest-message" = {
      filter    = "metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${var.subscription}\""
      aligner   = "ALIGN_MAX"
      threshold = 120
      advice    = "A message has waited for more than two minutes: the ingest function fails, or the database refuses it."
    }
    "errors" = {
      filter    = "metric.type = \"run.googleapis.com/request_count\" AND resource.type = \"cloud_run_revision\" AND metric.labels.response_code_class = \"5xx\" AND (${local.functions})"
      aligner   = "ALIGN_SUM"
      threshold = 5
      advice    = "A function answered 5xx more than five times in five minutes; its log says why. Pub/Sub delivers the messages again."
    }
    "nat-ports" = {
      filter    = "metric.type = \"router.googleapis.com/nat/dropped_sent_packets_count\" AND resource.type = \"nat_gateway\" AND resource.labels.gateway_name = \"${var.nat_name}\" AND metric.labels.reason = \"OUT_OF_RESOURCES\""
      aligner   = "ALIGN_SUM"
      threshold = 0
      advice    = "Cloud NAT had no free port and dropped packets: raise max_ports_per_vm of the network, or add an address."
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  count = var.email == null ? 0 : 1

  display_name = "${var.name} alarms"
  type         = "email"
  labels       = { email_address = var.email }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alarms

  display_name          = "${var.name}-${each.key}"
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].id

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = each.value.aligner
      }
    }
  }

  documentation {
    content = each.value.advice
  }
}

# A condition on the log itself: a policy on a metric of the log is refused until the metric has a value.
resource "google_monitoring_alert_policy" "rejected" {
  display_name          = "${var.name}-rejected"
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].id

  conditions {
    display_name = "rejected"

    condition_matched_log {
      filter = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.ingest}\" AND jsonPayload.message = \"ingested\" AND jsonPayload.rejected > 0"
    }
  }

  alert_strategy {
    auto_close = "1800s"

    notification_rate_limit {
      period = "900s"
    }
  }

  documentation {
    content = "Unreadable events have arrived: a publisher's mistake. GET /api/v1/dead-letters has the payload, the reason and the field."
  }
}

resource "google_billing_budget" "this" {
  count = var.budget == null ? 0 : 1

  billing_account = var.billing_account
  display_name    = var.name

  budget_filter {
    projects = ["projects/${var.project}"]
  }

  amount {
    specified_amount {
      units = tostring(var.budget)
    }
  }

  threshold_rules {
    threshold_percent = 0.8
  }

  threshold_rules {
    threshold_percent = 1
    spend_basis       = "FORECASTED_SPEND"
  }

  dynamic "all_updates_rule" {
    for_each = google_monitoring_notification_channel.email

    content {
      monitoring_notification_channels = [all_updates_rule.value.id]
    }
  }
}
