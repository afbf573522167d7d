output "network_id" {
  description = "Id of the network."
  value       = azurerm_virtual_network.this.id
}

output "functions_subnet_id" {
  description = "The functions' subnet, once its egress uses the fixed address."
  value       = azurerm_subnet.functions.id
  depends_on  = [azurerm_subnet_nat_gateway_association.functions, azurerm_nat_gateway_public_ip_association.this]
}

output "endpoints_subnet_id" {
  description = "The subnet for private endpoints."
  value       = azurerm_subnet.endpoints.id
}

output "egress_address" {
  description = "The egress address."
  value       = azurerm_public_ip.egress.ip_address
}

output "nat_gateway_id" {
  description = "Id of the NAT gateway, for alarms."
  value       = azurerm_nat_gateway.this.id
}
