output "url" {
  description = "postgresql:// URL with the password; TLS is required."
  value       = "postgresql://${local.user}:${terraform_data.password.output}@${aws_rds_cluster.this.endpoint}:5432/${local.database}?sslmode=require"
  sensitive   = true
}

output "cluster" {
  description = "Identifier of the cluster, for metrics."
  value       = aws_rds_cluster.this.cluster_identifier
}

output "clients" {
  description = "Clients that may connect from outside the VPC, once the rules exist: an IPv4 range by name."
  value       = { for name, rule in aws_vpc_security_group_ingress_rule.clients : name => rule.cidr_ipv4 }
}
