# One Lambda function with its own role, which allows what its policy says and writing its log.

data "aws_partition" "current" {}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "this" {
  # checkov:skip=CKV_AWS_111: EC2 has no names for the network interfaces that Lambda creates; the function's own code is denied them below
  # checkov:skip=CKV_AWS_356: the same
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  dynamic "statement" {
    for_each = var.permissions

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }

  # AWS Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC": Lambda needs these
  # permissions on behalf of the function; the function's own code does not.
  dynamic "statement" {
    for_each = var.network == null ? {} : {
      Allow = []
      Deny  = [local.arn, "${local.arn}:*"] # the function, its versions and its alias
    }

    content {
      sid    = "${statement.key}NetworkInterfaces"
      effect = statement.key

      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]

      resources = ["*"]

      dynamic "condition" {
        for_each = length(statement.value) > 0 ? [statement.value] : []

        content {
          test     = "ArnLike"
          variable = "lambda:SourceFunctionArn"
          values   = condition.value
        }
      }
    }
  }
}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  arn = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:function:${var.name}"
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = var.description
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "this" {
  name   = var.name
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts with its own key; the lines hold counts and ids, no payloads
  # checkov:skip=CKV_AWS_338: log_retention_days is the operator's decision
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_50: one log line per batch shows what a trace would
  # checkov:skip=CKV_AWS_115: reserved_concurrency is the operator's decision: a new account has nothing to reserve
  # checkov:skip=CKV_AWS_116: events wait in SQS, which has its own dead-letter queue; the next call of the schedule replaces a lost one
  # checkov:skip=CKV_AWS_117: the function is in the VPC if there is one; otherwise the database and the cache are elsewhere
  # checkov:skip=CKV_AWS_173: no secret is in these variables, and Lambda encrypts them with its own key
  # checkov:skip=CKV_AWS_272: packages are hash-pinned and byte-identical on rebuild; signing is the account's decision
  function_name    = var.name
  description      = var.description
  role             = aws_iam_role.this.arn
  runtime          = var.runtime
  architectures    = [var.architecture]
  handler          = "handler.handler"
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = var.memory
  timeout          = var.timeout
  layers           = var.layers
  publish          = true # every change is a version, to which the alias can be moved, and back

  ephemeral_storage {
    size = var.storage
  }

  reserved_concurrent_executions = var.reserved_concurrency

  environment {
    variables = var.environment
  }

  logging_config {
    log_format = "Text" # the functions write JSON themselves
    log_group  = aws_cloudwatch_log_group.this.name
  }

  dynamic "vpc_config" {
    for_each = var.network == null ? [] : [var.network]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  depends_on = [aws_iam_role_policy.this]
}

# What the queues, the APIs and the schedule call. Terraform creates it with the first version, and
# scripts/deploy/release.py moves it: to a part of the calls first, and back if an alarm fires.
resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "The released version."
  function_name    = aws_lambda_function.this.function_name
  function_version = aws_lambda_function.this.version

  lifecycle {
    ignore_changes = [function_version, routing_config]
  }
}

# The schedule calls a function again a minute later; without this, Lambda would also repeat a failed call twice, and
# make up for calls that it could not start for six hours.
resource "aws_lambda_function_event_invoke_config" "scheduled" {
  count = var.is_scheduled ? 1 : 0

  function_name                = aws_lambda_function.this.function_name
  qualifier                    = aws_lambda_alias.live.name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}
