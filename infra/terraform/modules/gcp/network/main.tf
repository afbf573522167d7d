# The network for outgoing calls of the functions, with one fixed address.

resource "google_compute_network" "this" {
  name                    = var.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  # checkov:skip=CKV_GCP_26: flow logs cost more than the traffic; the functions log each batch
  # checkov:skip=CKV_GCP_76: the network has IPv4 only
  name                     = var.name
  region                   = var.region
  network                  = google_compute_network.this.id
  ip_cidr_range            = var.subnet_cidr
  private_ip_google_access = true
}

# Nothing listens in this network. The default rules deny all ingress; this rule makes that explicit.
resource "google_compute_firewall" "deny_ingress" {
  name      = "${var.name}-deny-ingress"
  network   = google_compute_network.this.id
  direction = "INGRESS"
  priority  = 65534

  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }
}

resource "google_compute_address" "egress" {
  name   = "${var.name}-egress"
  region = var.region
}

resource "google_compute_router" "this" {
  name    = var.name
  region  = var.region
  network = google_compute_network.this.id
}

resource "google_compute_router_nat" "this" {
  name                               = var.name
  region                             = var.region
  router                             = google_compute_router.this.name
  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = [google_compute_address.egress.self_link]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.this.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  # Cloud NAT documentation, "Dynamic port allocation": the default is 64 ports an instance. A closed connection occupies
  # its port for as long as TIME_WAIT lasts, by default two minutes.
  enable_dynamic_port_allocation      = true
  min_ports_per_vm                    = 1024
  max_ports_per_vm                    = 8192
  tcp_time_wait_timeout_sec           = 30
  enable_endpoint_independent_mapping = false # dynamic allocation excludes it

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
