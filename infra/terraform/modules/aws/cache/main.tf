# ElastiCache Serverless Valkey: the dedupe cache, and the list of WebSocket connections.

resource "aws_security_group" "this" {
  name        = "${var.name}-cache"
  description = "Valkey of Helios: accessible from the functions only."
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-cache" }
}

resource "aws_vpc_security_group_ingress_rule" "functions" {
  security_group_id            = aws_security_group.this.id
  description                  = "The functions of Helios."
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
  referenced_security_group_id = var.function_security_group_id
}

resource "aws_elasticache_serverless_cache" "this" {
  name                 = var.name
  description          = "Helios: stored keys and connections. Losing it makes Helios slower, never wrong."
  engine               = "valkey"
  major_engine_version = "8"
  subnet_ids           = var.subnet_ids
  security_group_ids   = [aws_security_group.this.id]

  # No snapshots: its content can be lost. The limits bound the cost of a flood of events.
  cache_usage_limits {
    data_storage {
      maximum = var.max_gigabytes
      unit    = "GB"
    }

    ecpu_per_second {
      maximum = var.max_ecpu_per_second
    }
  }
}
