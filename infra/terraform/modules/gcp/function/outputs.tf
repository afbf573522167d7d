output "name" {
  description = "The function's name, and its service's."
  value       = google_cloudfunctions2_function.this.name
}

output "url" {
  description = "Where to call it: the service's own address, which is the one that internal ingress lets through."
  value       = google_cloudfunctions2_function.this.service_config[0].uri
}
