output "network_id" {
  description = "The network, once its egress uses the fixed address."
  value       = google_compute_network.this.id
  depends_on  = [google_compute_router_nat.this]
}

output "subnetwork_id" {
  description = "The functions' subnet, once its egress uses the fixed address."
  value       = google_compute_subnetwork.this.id
  depends_on  = [google_compute_router_nat.this]
}

output "nat_name" {
  description = "Name of the NAT gateway."
  value       = google_compute_router_nat.this.name
}

output "egress_address" {
  description = "The egress address."
  value       = google_compute_address.egress.address
}
