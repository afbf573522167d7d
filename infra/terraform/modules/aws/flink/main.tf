# The job of Helios on Amazon Managed Service for Apache Flink, in the VPC of the log.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

resource "aws_security_group" "this" {
  # checkov:skip=CKV2_AWS_5: the application has it
  name        = "${var.name}-flink"
  description = "The job of Helios: it connects to the log, and nothing connects to it."
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-flink" }
}

resource "aws_vpc_security_group_egress_rule" "kafka" {
  security_group_id = aws_security_group.this.id
  description       = "Brokers (SASL/SCRAM)."
  ip_protocol       = "tcp"
  from_port         = 9096
  to_port           = 9096
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "Secrets Manager, S3 and CloudWatch."
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: the logs of the job hold no payloads
  # checkov:skip=CKV_AWS_338: the operator chooses the retention
  name              = "/helios/${var.name}/flink"
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_stream" "this" {
  name           = "application"
  log_group_name = aws_cloudwatch_log_group.this.name
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["kinesisanalytics.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = "${var.name}-flink"
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  permissions_boundary = var.permissions_boundary
}

data "aws_iam_policy_document" "this" {
  # checkov:skip=CKV_AWS_109: the service attaches network interfaces to its own machines
  # checkov:skip=CKV_AWS_111: EC2 has no names for the network interfaces that the service makes
  # checkov:skip=CKV_AWS_356: the same
  statement {
    sid       = "Code"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.code.bucket_arn}/${var.code.key}"]
  }

  statement {
    sid       = "Password"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.secret.arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [var.secret.key_arn]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [aws_cloudwatch_log_group.this.arn, "${aws_cloudwatch_log_group.this.arn}:log-stream:*"]
  }

  # Amazon Managed Service for Apache Flink, "VPC application permissions".
  statement {
    sid = "Network"
    actions = [
      "ec2:CreateNetworkInterface",
      "ec2:CreateNetworkInterfacePermission",
      "ec2:DeleteNetworkInterface",
      "ec2:DescribeDhcpOptions",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcs",
    ]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "job"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}

resource "aws_kinesisanalyticsv2_application" "this" {
  name                   = "${var.name}-flink"
  description            = "Judges the deliveries of Helios' log."
  runtime_environment    = var.runtime
  service_execution_role = aws_iam_role.this.arn
  start_application      = var.starts

  application_configuration {
    application_code_configuration {
      code_content_type = "ZIPFILE"

      code_content {
        s3_content_location {
          bucket_arn     = var.code.bucket_arn
          file_key       = var.code.key
          object_version = var.code.version
        }
      }
    }

    # A new version takes up the state of the last one.
    application_snapshot_configuration {
      snapshots_enabled = true
    }

    environment_properties {
      # What the service runs, relative to the package (Amazon Managed Service for Apache Flink, "Python").
      property_group {
        property_group_id = "kinesis.analytics.flink.run.options"

        property_map = {
          python  = "main.py"
          jarfile = "lib/flink-sql-connector-kafka-5.0.0-2.2.jar"
          pyFiles = "packages"
        }
      }

      # The package's main.py makes environment variables of them.
      property_group {
        property_group_id = "helios"

        property_map = merge(
          {
            HELIOS_ENGINE      = "flink"
            HELIOS_LOG_BROKERS = var.brokers
            HELIOS_LOG_PREFIX  = var.log_prefix
            LOG_SECRET_ARN     = var.secret.arn
            PARALLELISM        = tostring(var.parallelism)
          },
          var.retention == "" ? {} : { HELIOS_RETENTION = var.retention }, # a value has at least a character
        )
      }
    }

    flink_application_configuration {
      checkpoint_configuration {
        configuration_type            = "CUSTOM"
        checkpointing_enabled         = true
        checkpoint_interval           = var.checkpoint_milliseconds
        min_pause_between_checkpoints = 0
      }

      monitoring_configuration {
        configuration_type = "CUSTOM"
        log_level          = "WARN"
        metrics_level      = "OPERATOR"
      }

      parallelism_configuration {
        configuration_type   = "CUSTOM"
        auto_scaling_enabled = false # a new parallelism restarts the job
        parallelism          = var.parallelism
        parallelism_per_kpu  = 1
      }
    }

    vpc_configuration {
      security_group_ids = [aws_security_group.this.id]
      subnet_ids         = var.subnet_ids
    }
  }

  cloudwatch_logging_options {
    log_stream_arn = aws_cloudwatch_log_stream.this.arn
  }

  depends_on = [aws_iam_role_policy.this]
}
