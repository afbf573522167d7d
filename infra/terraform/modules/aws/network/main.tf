# One VPC over several zones: functions and the cache in private subnets, the database in subnets of its own.

data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394: the first zones by name are used; a zone that AWS adds comes after them
  state = "available"

  # Old zones that lack services and sizes. Names differ by account, ids do not. (AWS, "Lambda quotas" and "Aurora
  # Serverless v2", name no zones; reports of failed deployments name these.)
  exclude_zone_ids = ["use1-az3", "usw1-az2", "cac1-az3", "apne1-az3"]

  filter { # no local zones: they lack most services
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  zones = slice(data.aws_availability_zones.available.names, 0, var.zones)
  # The VPC's range is cut into 16 networks. The functions' are the largest, because each network interface needs an address.
  function_cidrs = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 4, index) }
  database_cidrs = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 8, 128 + index) }
  public_cidrs   = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 8, 160 + index) }
  # One gateway serves all zones: it carries a few messages to browsers, and messages lost with its zone are sent again.
  gateway_zone = local.zones[0]
}

resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11: flow logs cost more than all of Helios at rest; switch them on for the whole account instead
  cidr_block           = var.cidr
  enable_dns_hostnames = true # the endpoints' names are private DNS
  enable_dns_support   = true

  tags = { Name = var.name }
}

# The default security group of the VPC, managed here so that it allows no traffic.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-closed" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

# Public: only the NAT gateway.

resource "aws_subnet" "public" {
  vpc_id            = aws_vpc.this.id
  availability_zone = local.gateway_zone
  cidr_block        = local.public_cidrs[local.gateway_zone]

  tags = { Name = "${var.name}-public" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-public" }
}

resource "aws_route" "public" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}

resource "aws_eip" "nat" {
  domain = "vpc"

  tags = { Name = "${var.name}-nat" }

  depends_on = [aws_internet_gateway.this]
}

# The relay posts to browsers through API Gateway's @connections, for which there is no VPC endpoint.
resource "aws_nat_gateway" "this" {
  allocation_id = aws_eip.nat.id
  subnet_id     = aws_subnet.public.id

  tags = { Name = var.name }
}

# Functions and the cache.

resource "aws_subnet" "functions" {
  for_each = local.function_cidrs

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-functions-${each.key}" }
}

resource "aws_route_table" "functions" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-functions" }
}

resource "aws_route" "functions" {
  route_table_id         = aws_route_table.functions.id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this.id
}

resource "aws_route_table_association" "functions" {
  for_each = aws_subnet.functions

  subnet_id      = each.value.id
  route_table_id = aws_route_table.functions.id
}

resource "aws_security_group" "functions" {
  # checkov:skip=CKV2_AWS_5: every function of the root is in it
  name        = "${var.name}-functions"
  description = "Helios functions: no ingress, and egress on a few ports."
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-functions" }
}

resource "aws_vpc_security_group_egress_rule" "functions" {
  for_each = { for port in var.egress_ports : tostring(port) => port }

  security_group_id = aws_security_group.functions.id
  description       = "Anywhere: an existing database or cache may be outside this VPC."
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = "0.0.0.0/0"
}

# The database: reachable from outside only when clients outside are named.

resource "aws_subnet" "database" {
  for_each = local.database_cidrs

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-database-${each.key}" }
}

resource "aws_route_table" "database" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-database" }
}

resource "aws_route" "database" {
  count = var.is_database_public ? 1 : 0

  route_table_id         = aws_route_table.database.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "database" {
  for_each = aws_subnet.database

  subnet_id      = each.value.id
  route_table_id = aws_route_table.database.id
}

# Endpoints: the AWS calls that the functions make with every batch do not go through the NAT gateway.

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "VPC endpoints: TLS from the functions of Helios."
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  security_group_id            = aws_security_group.endpoints.id
  description                  = "TLS from the functions."
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.functions.id
}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "endpoints" {
  # checkov:skip=CKV_AWS_283: an endpoint's policy only narrows what roles grant; the condition names the account
  for_each = merge(var.endpoints, var.s3 == null ? {} : { s3 = var.s3 })

  statement {
    sid       = "WhatFunctionsAskFor"
    actions   = each.value.actions
    resources = each.value.resources

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = var.endpoints

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${data.aws_region.current.id}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.functions : subnet.id]
  security_group_ids  = [aws_security_group.endpoints.id]
  policy              = data.aws_iam_policy_document.endpoints[each.key].json

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_endpoint" "s3" {
  count = var.s3 == null ? 0 : 1

  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${data.aws_region.current.id}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.functions.id]
  policy            = data.aws_iam_policy_document.endpoints["s3"].json

  tags = { Name = "${var.name}-s3" }
}
