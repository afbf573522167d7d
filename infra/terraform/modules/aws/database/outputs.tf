output "urls" {
  description = "postgresql:// URL with the password of each role: admin (the master user), migrate, api, aws, gcp, azure. The client checks Aurora's certificate."
  value = {
    for role, user in local.users :
    role => "postgresql://${user}:${terraform_data.password[role].output}@${aws_rds_cluster.this.endpoint}:5432/${local.database}?sslmode=verify-full"
  }
  sensitive = true
}

output "cluster" {
  description = "Identifier of the cluster, for metrics."
  value       = aws_rds_cluster.this.cluster_identifier
}

output "clients" {
  description = "Clients that may connect from outside the VPC, once the rules exist: an IPv4 range by name."
  value       = { for name, rule in aws_vpc_security_group_ingress_rule.clients : name => rule.cidr_ipv4 }
}
