# Aurora Serverless v2 Postgres: where every fact of Helios is stored.

data "aws_secretsmanager_random_password" "this" {
  password_length     = 48
  exclude_punctuation = true # it becomes part of a URL
}

# The data source makes another password with every plan; the first one is kept until password_version is raised.
resource "terraform_data" "password" {
  input            = data.aws_secretsmanager_random_password.this.random_password
  triggers_replace = var.password_version

  lifecycle {
    ignore_changes = [input]
  }
}

locals {
  database = "helios"
  user     = "helios"
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Helios."
  subnet_ids  = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = "${var.name}-database"
  description = "Postgres of Helios: the functions, and the clients that are named."
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-database" }
}

resource "aws_vpc_security_group_ingress_rule" "functions" {
  security_group_id            = aws_security_group.this.id
  description                  = "The functions of Helios."
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = var.function_security_group_id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = var.clients

  security_group_id = aws_security_group.this.id
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
  cidr_ipv4         = each.value
}

resource "aws_rds_cluster_parameter_group" "this" {
  name        = "${var.name}-${split(".", var.engine_version)[0]}"
  family      = "aurora-postgresql${split(".", var.engine_version)[0]}"
  description = "Helios: TLS only, and statements that are slow or change the schema are logged."

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  parameter {
    name  = "log_parameter_max_length" # in bytes: a batch's parameter is all of its payloads, which belong in no log
    value = "0"
  }

  lifecycle {
    create_before_destroy = true
  }
}

# Made here, since Aurora would keep it for ever. The lines hold statements, without their parameters.
resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts with its own key
  # checkov:skip=CKV_AWS_338: log_retention_days is the operator's decision
  name              = "/aws/rds/cluster/${var.name}/postgresql"
  retention_in_days = var.log_retention_days
}

resource "aws_rds_cluster" "this" {
  # checkov:skip=CKV_AWS_327: encrypted with the account's own RDS key; a key of one's own adds cost and no reader
  # checkov:skip=CKV_AWS_162: a token of IAM lives 15 minutes, while the two other clouds have no AWS identity to ask for one
  # checkov:skip=CKV2_AWS_8: automated backups with point-in-time recovery are on; AWS Backup is the account's decision
  cluster_identifier = var.name
  engine             = "aurora-postgresql"
  engine_mode        = "provisioned" # what Serverless v2 is called here
  engine_version     = var.engine_version

  database_name              = local.database
  master_username            = local.user
  master_password_wo         = terraform_data.password.output
  master_password_wo_version = var.password_version

  db_subnet_group_name            = aws_db_subnet_group.this.name
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.this.name
  vpc_security_group_ids          = [aws_security_group.this.id]
  apply_immediately               = true # a new password is told the functions at once, and must not wait for a window
  storage_encrypted               = true
  backup_retention_period         = var.backup_days
  copy_tags_to_snapshot           = true
  deletion_protection             = var.deletion_protection
  skip_final_snapshot             = !var.deletion_protection
  final_snapshot_identifier       = var.deletion_protection ? "${var.name}-final" : null
  enabled_cloudwatch_logs_exports = ["postgresql"]

  serverlessv2_scaling_configuration {
    min_capacity = var.capacity.min
    max_capacity = var.capacity.max
  }

  lifecycle {
    ignore_changes = [engine_version] # Aurora takes minor versions by itself, which no plan may want to take back
  }

  depends_on = [aws_cloudwatch_log_group.this]
}

resource "aws_rds_cluster_instance" "this" {
  # checkov:skip=CKV_AWS_354: encrypted with the account's own RDS key
  # checkov:skip=CKV_AWS_118: Performance Insights tells what enhanced monitoring would, but for the operating system
  count = var.instances

  identifier                   = "${var.name}-${count.index}"
  cluster_identifier           = aws_rds_cluster.this.id
  engine                       = aws_rds_cluster.this.engine
  engine_version               = aws_rds_cluster.this.engine_version
  instance_class               = "db.serverless"
  apply_immediately            = true
  publicly_accessible          = length(var.clients) > 0
  auto_minor_version_upgrade   = true
  performance_insights_enabled = true
}
