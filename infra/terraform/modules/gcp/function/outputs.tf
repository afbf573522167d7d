output "name" {
  description = "Name of the function and of its service."
  value       = google_cloudfunctions2_function.this.name
}

output "url" {
  description = "URL of the function: the service's own address, the only one that internal ingress admits."
  value       = google_cloudfunctions2_function.this.service_config[0].uri
}
