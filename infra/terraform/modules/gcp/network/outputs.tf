output "network_id" {
  description = "The network."
  value       = google_compute_network.this.id
}

output "subnetwork_id" {
  description = "The functions' subnet; it has its way out when this is known."
  value       = google_compute_subnetwork.this.id
}

output "egress_address" {
  description = "The address that the internet sees."
  value       = google_compute_address.egress.address
}
