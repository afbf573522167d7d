output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "function_subnet_ids" {
  description = "Private subnets, for functions and caches."
  value       = [for subnet in aws_subnet.functions : subnet.id]
}

output "database_subnet_ids" {
  description = "Subnets of the database."
  value       = [for subnet in aws_subnet.database : subnet.id]
}

output "function_security_group_id" {
  description = "Security group of every function: databases and caches admit this group."
  value       = aws_security_group.functions.id
}

output "egress_address" {
  description = "IPv4 address from which the functions call the internet."
  value       = aws_eip.nat.public_ip
}

output "nat_gateway_id" {
  description = "Id of the NAT gateway, for alarms."
  value       = aws_nat_gateway.this.id
}

output "s3_endpoint_ids" {
  description = "The gateway to S3; empty: none."
  value       = aws_vpc_endpoint.s3[*].id
}
