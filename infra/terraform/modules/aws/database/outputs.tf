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
  description = "Who may connect from outside of the VPC, once they may: a range for each name."
  value       = { for name, rule in aws_vpc_security_group_ingress_rule.clients : name => rule.cidr_ipv4 }
}
