# A private bucket for archived events, the layer of the functions that fill and read it, and the schedule of a task.

data "aws_caller_identity" "current" {}

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18: Helios' audit log names who queries and erases; access logs would hold the same payload paths
  # checkov:skip=CKV_AWS_144: a copy in another region is the operator's decision, and would have to be erased as well
  # checkov:skip=CKV_AWS_145: S3's own key encrypts; a customer's key is the account's decision
  # checkov:skip=CKV2_AWS_62: no resource reacts to an upload
  bucket = "${var.name}-archive-${data.aws_caller_identity.current.account_id}"
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "events"
    status = "Enabled"

    filter {
      prefix = "${local.folder}/"
    }

    transition {
      days          = var.cheaper_after_days
      storage_class = "GLACIER_IR"
    }
  }

  rule {
    id     = "versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "OnlyTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.bucket.json

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# What the functions that fill and read the archive have in common. Their zips would otherwise be larger than a request to
# Lambda may be.
resource "aws_lambda_layer_version" "packages" {
  count = var.layer == null ? 0 : 1

  layer_name               = "${var.name}-archive"
  description              = "DuckDB and the client of object stores."
  filename                 = var.layer.package
  source_code_hash         = filebase64sha256(var.layer.package)
  compatible_runtimes      = [var.layer.runtime]
  compatible_architectures = [var.layer.architecture]

  lifecycle {
    create_before_destroy = true # versions of functions that have the previous one go on using it
  }
}

locals {
  folder = "events"

  # What a process that archives, reads and erases may do.
  permissions = {
    ArchiveFiles = {
      actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
      resources = ["${aws_s3_bucket.this.arn}/${local.folder}/*"]
    }
    ArchiveList = {
      actions   = ["s3:ListBucket"]
      resources = [aws_s3_bucket.this.arn]
    }
  }
}

locals {
  # What a process that only reads archived events may do. The manifest in Postgres names the files.
  reading = {
    ArchiveFiles = {
      actions   = ["s3:GetObject"]
      resources = local.permissions.ArchiveFiles.resources
    }
  }
}

data "aws_iam_policy_document" "access" {
  dynamic "statement" {
    for_each = local.permissions

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "run" {
  count = var.task == null ? 0 : 1

  statement {
    sid       = "Run"
    actions   = ["ecs:RunTask"]
    resources = [var.task.task_definition_arn]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.task.cluster_arn]
    }
  }

  statement {
    sid       = "PassRoles"
    actions   = ["iam:PassRole"]
    resources = var.task.role_arns
  }
}

resource "aws_iam_role" "schedule" {
  count = var.task == null ? 0 : 1

  name                 = "${var.name}-archive-schedule"
  description          = "Starts the task that archives events."
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "schedule" {
  count = var.task == null ? 0 : 1

  name   = "${var.name}-archive-schedule"
  role   = aws_iam_role.schedule[0].id
  policy = data.aws_iam_policy_document.run[0].json
}

resource "aws_scheduler_schedule" "this" {
  # checkov:skip=CKV_AWS_297: the schedule holds no data
  count = var.task == null ? 0 : 1

  name                = "${var.name}-archive"
  description         = "Archive the events of the days that are over, once a day."
  schedule_expression = "cron(30 1 * * ? *)" # an hour and a half after the end of a UTC day; Helios waits for an hour

  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = 30
  }

  target {
    arn      = var.task.cluster_arn
    role_arn = aws_iam_role.schedule[0].arn

    ecs_parameters {
      task_definition_arn = var.task.task_definition_arn
      launch_type         = "FARGATE"

      network_configuration {
        subnets          = var.task.subnet_ids
        security_groups  = var.task.security_group_ids
        assign_public_ip = false
      }
    }

    retry_policy {
      maximum_retry_attempts = 3
    }
  }
}
