# Aurora Serverless v2 Postgres: the store of all events.

locals {
  database = "helios"
  # The master user, and the roles of the schema's migration 0018: each cloud, and the API, has its own and no other.
  # Aurora knows the master's password only; scripts/deploy/database_roles.py creates the roles with theirs.
  users = {
    admin   = "helios"
    migrate = "helios_migrate"
    api     = "helios_api"
    aws     = "helios_aws"
    gcp     = "helios_gcp"
    azure   = "helios_azure"
  }
  family = "aurora-postgresql${var.major_version}"
}

data "aws_secretsmanager_random_password" "this" {
  for_each = local.users

  password_length     = 48
  exclude_punctuation = true # the password becomes part of a URL
}

# The data source generates another password with every plan; this resource keeps the first one until password_version
# is raised.
resource "terraform_data" "password" {
  for_each = local.users

  input            = data.aws_secretsmanager_random_password.this[each.key].random_password
  triggers_replace = var.password_version

  lifecycle {
    ignore_changes = [input]
  }
}

# AWS refuses to create a cluster with a minor version that it has retired, some 15 months after its release: so the
# version is not written here, but asked for.
data "aws_rds_engine_version" "this" {
  engine                 = "aurora-postgresql"
  parameter_group_family = local.family
  latest                 = true
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Helios."
  subnet_ids  = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = "${var.name}-database"
  description = "Postgres of Helios: accessible from the functions and the named clients."
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
  name        = "${var.name}-${var.major_version}"
  family      = local.family
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
    name  = "log_parameter_max_length" # in bytes: a batch's parameter holds its payloads, which must not be logged
    value = "0"
  }

  lifecycle {
    create_before_destroy = true
  }
}

# Created here, because Aurora would create it without a retention. The lines hold statements without parameters.
resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts with its own key
  # checkov:skip=CKV_AWS_338: log_retention_days is the operator's decision
  name              = "/aws/rds/cluster/${var.name}/postgresql"
  retention_in_days = var.log_retention_days
}

resource "aws_rds_cluster" "this" {
  # checkov:skip=CKV_AWS_327: encrypted with the account's RDS key; a customer managed key adds cost and no protection from another reader
  # checkov:skip=CKV_AWS_162: an IAM token expires after 15 minutes, and a function of another cloud would first have to exchange its identity for one of AWS
  # checkov:skip=CKV2_AWS_8: automated backups with point-in-time recovery are on; AWS Backup is the account's decision
  cluster_identifier = var.name
  engine             = "aurora-postgresql"
  engine_mode        = "provisioned" # the engine mode of Serverless v2
  engine_version     = data.aws_rds_engine_version.this.version_actual

  database_name              = local.database
  master_username            = local.users.admin
  master_password_wo         = terraform_data.password["admin"].output
  master_password_wo_version = var.password_version

  db_subnet_group_name            = aws_db_subnet_group.this.name
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.this.name
  vpc_security_group_ids          = [aws_security_group.this.id]
  apply_immediately               = true # the functions get a new password at once, so it must not wait for a maintenance window
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
    ignore_changes = [engine_version] # Aurora applies minor versions automatically, and no plan may revert them
  }

  depends_on = [aws_cloudwatch_log_group.this]
}

resource "aws_rds_cluster_instance" "this" {
  # checkov:skip=CKV_AWS_354: encrypted with the account's RDS key
  # checkov:skip=CKV_AWS_118: Performance Insights shows what enhanced monitoring would, except for the operating system
  # checkov:skip=CKV_AWS_353: on where the minimum capacity is large enough for it
  count = var.instances

  identifier                 = "${var.name}-${count.index}"
  cluster_identifier         = aws_rds_cluster.this.id
  engine                     = aws_rds_cluster.this.engine
  engine_version             = aws_rds_cluster.this.engine_version
  instance_class             = "db.serverless"
  apply_immediately          = true
  publicly_accessible        = length(var.clients) > 0
  auto_minor_version_upgrade = true
  # It needs memory that the smallest capacities lack: Aurora User Guide, "Performance and scaling for Aurora Serverless
  # v2", asks for a minimum of 2 units with it.
  performance_insights_enabled = var.capacity.min >= 2
}
