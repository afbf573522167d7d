# The bus, its queue and dead-letter queue, and the queue that notifies the relay.

locals {
  queue = "${var.name}-events"
  # ARNs that are known before the resources exist: a queue's policy can then be part of the queue.
  queues_arn = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
  rule_arn   = "arn:${data.aws_partition.current.partition}:events:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:rule/${var.name}/${local.queue}"

  # The rules of recoveries, which Helios makes and removes while it runs: it names them like this.
  recovery_rules_arn = "arn:${data.aws_partition.current.partition}:events:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:rule/${var.name}/helios-recovery-*"
}

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

resource "aws_cloudwatch_event_bus" "this" {
  name = var.name
}

resource "aws_cloudwatch_event_rule" "this" {
  name           = local.queue
  description    = "Every event on the bus goes to Helios."
  event_bus_name = aws_cloudwatch_event_bus.this.name
  event_pattern  = jsonencode({ source = [{ prefix = "" }] })
}

resource "aws_cloudwatch_event_target" "queue" {
  rule           = aws_cloudwatch_event_rule.this.name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = local.queue
  arn            = aws_sqs_queue.events.arn

  # Events that EventBridge could not put into the queue for a day go to the same dead-letter queue: the messages are equal.
  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }
}

resource "aws_cloudwatch_event_archive" "this" {
  name             = var.name
  description      = "Events of the bus, for replay: Helios stores each event once, so a replay does no harm."
  event_source_arn = aws_cloudwatch_event_bus.this.arn
  retention_days   = var.archive_days
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${local.queue}-dlq"
  message_retention_seconds = 14 * 24 * 60 * 60 # the maximum of SQS
  sqs_managed_sse_enabled   = true
  policy                    = data.aws_iam_policy_document.from_the_bus["${local.queue}-dlq"].json
}

data "aws_iam_policy_document" "from_the_bus" {
  for_each = toset([local.queue, "${local.queue}-dlq"])

  statement {
    sid       = "FromTheBus"
    actions   = ["sqs:SendMessage"]
    resources = ["${local.queues_arn}:${each.key}"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    # Only the queue of events gets replayed events. ArnLike equals ArnEquals: both match wildcards.
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = var.recoveries && each.key == local.queue ? [local.rule_arn, local.recovery_rules_arn] : [local.rule_arn]
    }
  }
}

resource "aws_sqs_queue" "events" {
  name                       = local.queue
  visibility_timeout_seconds = var.visibility_seconds
  message_retention_seconds  = 4 * 24 * 60 * 60
  sqs_managed_sse_enabled    = true
  policy                     = data.aws_iam_policy_document.from_the_bus[local.queue].json

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = var.max_receives
  })
}

resource "aws_sqs_queue" "relay" {
  name                       = "${var.name}-relay"
  visibility_timeout_seconds = var.visibility_seconds
  message_retention_seconds  = 5 * 60 # an old notification is useless: the schedule has relayed since
  sqs_managed_sse_enabled    = true
}
