# The dedupe cache of this cloud.

locals {
  certificate_path = "/etc/helios/redis/ca.pem"
}

resource "google_redis_instance" "this" {
  name                    = var.name
  region                  = var.region
  tier                    = var.tier
  memory_size_gb          = var.gigabytes
  redis_version           = "REDIS_7_2"
  authorized_network      = var.network_id
  connect_mode            = "DIRECT_PEERING"
  auth_enabled            = true
  transit_encryption_mode = "SERVER_AUTHENTICATION"
  deletion_protection     = false # its content can be lost

  redis_configs = {
    "maxmemory-policy" = "volatile-ttl" # when full, it evicts the keys that expire next
  }
}

resource "google_secret_manager_secret" "certificate" {
  secret_id = "${var.name}-redis-certificate"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
}

resource "google_secret_manager_secret_version" "certificate" {
  secret      = google_secret_manager_secret.certificate.id
  secret_data = join("\n", [for authority in google_redis_instance.this.server_ca_certs : authority.cert])
}
