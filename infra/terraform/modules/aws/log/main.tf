# The log: Amazon MSK with three brokers in three zones. Clients prove who they are by SASL/SCRAM, over TLS.

# MSK reads the secret of its clients only if a customer's key encrypts it (Amazon MSK, "Sign-in credentials").
resource "aws_kms_key" "this" {
  # checkov:skip=CKV2_AWS_64: the default policy leaves the use of the key to the account's IAM policies
  description             = "Helios: the log, and the credentials of its clients."
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_security_group" "this" {
  name        = "${var.name}-log"
  description = "Kafka of Helios: accessible from its clients only."
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-log" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = var.client_security_group_ids

  security_group_id            = aws_security_group.this.id
  description                  = "Edges, projectors and the job of Helios (SASL/SCRAM)."
  ip_protocol                  = "tcp"
  from_port                    = 9096
  to_port                      = 9096
  referenced_security_group_id = each.value
}

resource "aws_msk_configuration" "this" {
  name           = "${var.name}-log"
  kafka_versions = [var.kafka_version]

  # `helios log create` creates the topics. A message has up to 32 MB, and a transaction of the job up to 15 minutes.
  server_properties = <<-EOT
    auto.create.topics.enable=false
    default.replication.factor=3
    min.insync.replicas=2
    unclean.leader.election.enable=false
    message.max.bytes=33554432
    replica.fetch.max.bytes=33554432
    transaction.max.timeout.ms=900000
  EOT
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: the brokers' logs hold no payloads
  # checkov:skip=CKV_AWS_338: the operator chooses the retention
  name              = "/helios/${var.name}/log"
  retention_in_days = var.log_retention_days
}

resource "aws_msk_cluster" "this" {
  cluster_name           = "${var.name}-log"
  kafka_version          = var.kafka_version
  number_of_broker_nodes = length(var.subnet_ids)
  enhanced_monitoring    = "PER_TOPIC_PER_BROKER"

  broker_node_group_info {
    instance_type   = var.instance_type
    client_subnets  = var.subnet_ids
    security_groups = [aws_security_group.this.id]

    storage_info {
      ebs_storage_info {
        volume_size = var.volume_gigabytes
      }
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.this.arn
    revision = aws_msk_configuration.this.latest_revision
  }

  client_authentication {
    unauthenticated = false

    sasl {
      scram = true
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = aws_kms_key.this.arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.this.name
      }
    }
  }
}

data "aws_secretsmanager_random_password" "this" {
  password_length     = 48
  exclude_punctuation = true
}

# The data source generates another password with every plan; this resource keeps the first one.
resource "terraform_data" "password" {
  input            = data.aws_secretsmanager_random_password.this.random_password
  triggers_replace = var.password_version

  lifecycle {
    ignore_changes = [input]
  }
}

resource "aws_secretsmanager_secret" "this" {
  # checkov:skip=CKV2_AWS_57: a new password_version rotates it
  name        = "AmazonMSK_${var.name}-log" # MSK requires this prefix
  description = "User and password of the clients of Helios' log."
  kms_key_id  = aws_kms_key.this.arn
}

resource "aws_secretsmanager_secret_version" "this" {
  secret_id     = aws_secretsmanager_secret.this.id
  secret_string = jsonencode({ username = "helios", password = terraform_data.password.output })
}

data "aws_iam_policy_document" "secret" {
  statement {
    sid       = "Kafka"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.this.arn]

    principals {
      type        = "Service"
      identifiers = ["kafka.amazonaws.com"]
    }
  }
}

resource "aws_secretsmanager_secret_policy" "this" {
  secret_arn = aws_secretsmanager_secret.this.arn
  policy     = data.aws_iam_policy_document.secret.json
}

resource "aws_msk_scram_secret_association" "this" {
  cluster_arn     = aws_msk_cluster.this.arn
  secret_arn_list = [aws_secretsmanager_secret.this.arn]

  depends_on = [aws_secretsmanager_secret_version.this]
}
