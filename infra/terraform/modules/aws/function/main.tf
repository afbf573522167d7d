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
      Deny  = [local.arn]
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
          test     = "ArnEquals"
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
  arn = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:function:${var.name}"
}

resource "aws_iam_role" "this" {
  name               = var.name
  description        = var.description
  assume_role_policy = data.aws_iam_policy_document.assume.json
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
  # checkov:skip=CKV_AWS_115: a reservation reduces the capacity of the account's other functions; the queues' mappings limit concurrency, the APIs throttle
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
