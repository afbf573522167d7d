output "url" {
  description = "rediss:// URL with the password; redis-py reads the options after the question mark."
  value       = "rediss://:${google_redis_instance.this.auth_string}@${google_redis_instance.this.host}:${google_redis_instance.this.port}/0?ssl_ca_certs=${local.certificate_path}&ssl_check_hostname=false"
  sensitive   = true
}

output "certificate_secret" {
  description = "Certificate of the authority: its secret, that secret's version, and the path at which the URL expects it as a file."
  value = {
    secret  = google_secret_manager_secret.certificate.secret_id
    version = google_secret_manager_secret_version.certificate.version
    path    = local.certificate_path
  }
}
