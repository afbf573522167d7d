# The plan of the root, with a provider that knows only its schema.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }

  mock_resource "google_compute_network" {
    defaults = { id = "projects/shop-1234/global/networks/helios" }
  }

  mock_resource "google_compute_subnetwork" {
    defaults = { id = "projects/shop-1234/regions/europe-west3/subnetworks/helios" }
  }

  mock_resource "google_compute_address" {
    defaults = { self_link = "projects/shop-1234/regions/europe-west3/addresses/helios-egress" }
  }

  mock_resource "google_pubsub_topic" {
    defaults = { id = "projects/shop-1234/topics/helios-events" }
  }

  mock_resource "google_redis_instance" {
    defaults = { host = "10.0.0.3", port = 6378, auth_string = "pass", server_ca_certs = [{ cert = "PEM" }] }
  }

  mock_resource "google_secret_manager_secret_version" {
    defaults = { version = "3" }
  }

  mock_resource "google_service_account" {
    defaults = {
      id     = "projects/shop-1234/serviceAccounts/helios@shop-1234.iam.gserviceaccount.com"
      name   = "projects/shop-1234/serviceAccounts/helios@shop-1234.iam.gserviceaccount.com"
      email  = "helios@shop-1234.iam.gserviceaccount.com"
      member = "serviceAccount:helios@shop-1234.iam.gserviceaccount.com"
    }
  }

  mock_resource "google_secret_manager_secret" {
    defaults = { id = "projects/shop-1234/secrets/helios-database-url" }
  }

  mock_resource "google_project_iam_member" {
    defaults = { id = "shop-1234/roles/cloudbuild.builds.builder/serviceAccount:helios@shop-1234.iam.gserviceaccount.com" }
  }

  mock_resource "google_cloudfunctions2_function" {
    defaults = { id = "projects/shop-1234/locations/europe-west3/functions/helios-ingest" }
  }

  mock_resource "google_pubsub_subscription" {
    defaults = { id = "projects/shop-1234/subscriptions/helios-ingest" }
  }

  mock_resource "google_monitoring_notification_channel" {
    defaults = { id = "projects/shop-1234/notificationChannels/1234567890" }
  }
}

# The schema-only provider can't return the blocks of the vendor's answer.
override_resource {
  target = module.ingest.google_cloudfunctions2_function.this
  values = { service_config = { uri = "https://helios-ingest.example.org" } }
}

override_resource {
  target = module.sweep.google_cloudfunctions2_function.this
  values = { service_config = { uri = "https://helios-sweep.example.org" } }
}

variables {
  project      = "shop-1234"
  region       = "europe-west3"
  package      = "tests/root.tftest.hcl" # any existing file: nothing is built
  database_url = "postgresql://helios:secret@db.example.org/helios?sslmode=require"
}

run "alone" {
  assert {
    condition     = module.topic.subscription == "helios-ingest" && module.topic.dead_letter_subscription == "helios-dead-letters"
    error_message = "The subscriptions must have their names."
  }

  assert {
    condition     = keys(google_secret_manager_secret.this) == ["DATABASE_URL", "REDIS_URL"]
    error_message = "Without notifications there must be two secrets."
  }

  assert {
    condition     = local.redis_url == "rediss://:pass@10.0.0.3:6378/0?ssl_ca_certs=/etc/helios/redis/ca.pem&ssl_check_hostname=false"
    error_message = "The functions must use the created cache, over TLS."
  }

  assert {
    condition     = google_cloud_scheduler_job.sweep.http_target[0].uri == "https://helios-sweep.example.org" && google_cloud_scheduler_job.sweep.schedule == "* * * * *"
    error_message = "The schedule must call the sweep once a minute."
  }
}

run "no_spans_by_default" {
  assert {
    condition     = !contains(keys(local.settings), "HELIOS_OTLP_URL")
    error_message = "Without otlp_url the functions must not send spans."
  }
}

run "the_functions_send_spans_to_a_collector" {
  variables {
    otlp_url    = "https://collector.example.org:4318"
    otlp_secret = "authorization=Bearer%20a-token-of-the-collector" # pragma: allowlist secret
  }

  assert {
    condition     = local.settings["HELIOS_OTLP_URL"] == "https://collector.example.org:4318" && local.settings["HELIOS_OTLP_RESOURCE"] == "service.name=helios,cloud.provider=gcp"
    error_message = "The functions must know the collector, and name their cloud."
  }

  assert {
    condition     = keys(google_secret_manager_secret.this) == ["DATABASE_URL", "OTLP_SECRET", "REDIS_URL"] && !contains(keys(local.settings), "HELIOS_OTLP_SECRET")
    error_message = "The headers must be a secret, and no plain setting."
  }
}

run "beside_aws" {
  variables {
    redis_url     = "rediss://:secret@cache.example.org:6379/0"
    notify_url    = "https://api.example.org/api/v1/relay/notify"
    notify_secret = "0123456789abcdef0123456789abcdef"
    publishers    = ["serviceAccount:shop@shop-1234.iam.gserviceaccount.com"]
  }

  assert {
    condition     = length(module.cache) == 0
    error_message = "With an existing cache, none may be created."
  }

  assert {
    condition     = keys(google_secret_manager_secret.this) == ["DATABASE_URL", "NOTIFY_SECRET", "REDIS_URL"]
    error_message = "The notify secret must be a secret."
  }

  assert {
    condition     = local.redis_url == "rediss://:secret@cache.example.org:6379/0"
    error_message = "The functions must use the existing cache."
  }
}

run "an_instance_has_a_thread_for_each_concurrent_request" {
  command = plan

  module {
    source = "../modules/gcp/function"
  }

  variables {
    name          = "helios-ingest"
    description   = "Stores the events that Pub/Sub delivers."
    project       = "shop-1234"
    entry_point   = "ingest"
    memory        = "512Mi"
    concurrency   = 8
    min_instances = 0
    max_instances = 10
    callers       = []
    function = {
      region        = "europe-west3"
      runtime       = "python311"
      bucket        = "packages"
      object        = "gcp.zip"
      build_account = "projects/shop-1234/serviceAccounts/helios-build@shop-1234.iam.gserviceaccount.com"
      network       = "projects/shop-1234/global/networks/helios"
      subnetwork    = "projects/shop-1234/regions/europe-west3/subnetworks/helios"
      settings      = { HELIOS_LOG_LEVEL = "DEBUG" }
      secrets       = {}
    }
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].max_instance_request_concurrency == 8 && google_cloudfunctions2_function.this.service_config[0].available_cpu == "1"
    error_message = "Cloud Run sends concurrent requests only to an instance with a whole CPU."
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].environment_variables == tomap({ THREADS = "8", HELIOS_LOG_LEVEL = "DEBUG" })
    error_message = "functions-framework must have as many threads as concurrent requests."
  }

  assert {
    condition     = !google_cloudfunctions2_function.this.service_config[0].all_traffic_on_latest_revision
    error_message = "An update must leave the calls where they are."
  }

  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.caller) == 1
    error_message = "Direct VPC egress needs the function's own account among the callers."
  }
}

run "cloud_nat_has_ports_for_many_connections" {
  command = plan

  module {
    source = "../modules/gcp/network"
  }

  variables {
    name        = "helios"
    region      = "europe-west3"
    subnet_cidr = "10.41.0.0/24"
  }

  assert {
    condition     = google_compute_router_nat.this.enable_dynamic_port_allocation && google_compute_router_nat.this.min_ports_per_vm == 1024 && google_compute_router_nat.this.tcp_time_wait_timeout_sec == 30
    error_message = "By default an instance has 64 ports, each of which is occupied for two minutes after its connection."
  }
}

run "alarms_and_the_budget" {
  command = plan

  variables {
    alarm_email     = "ops@example.org"
    billing_account = "012345-6789AB-CDEF01"
    budget          = 100
  }

  assert {
    condition     = toset(module.watch.policies) == toset(["helios-dead-letters", "helios-errors", "helios-nat-ports", "helios-oldest-message", "helios-rejected"])
    error_message = "There must be an alarm for each condition that needs an operator."
  }

  assert {
    condition     = var.delivery_attempts == 100 && var.min_instances == 1
    error_message = "An outage of half a day must not make dead letters, and one instance must be ready."
  }
}

run "the_functions_read_the_declarations_in_their_package" {
  command = plan

  variables {
    flows_file   = "tests/root.tftest.hcl" # any existing file: the package contains it
    sources_file = "tests/root.tftest.hcl"
  }

  assert {
    condition     = local.function.settings["HELIOS_FLOWS_FILE"] == "/workspace/flows.toml" && local.function.settings["HELIOS_SOURCES_FILE"] == "/workspace/sources.toml"
    error_message = "The functions must read the files from the folder of their package."
  }
}

run "nobody_brings_events_back_by_default" {
  command = plan

  assert {
    condition     = module.topic.recovery_permissions == [] && output.recovery_places == null
    error_message = "Without recovery_members, there must be no role for them."
  }
}

run "a_named_member_brings_events_back" {
  command = plan

  variables {
    recovery_members = ["serviceAccount:helios@shop-1234.iam.gserviceaccount.com"]
  }

  assert {
    condition     = toset(module.topic.recovery_permissions) == toset(["pubsub.subscriptions.consume", "pubsub.subscriptions.create", "pubsub.subscriptions.delete", "pubsub.topics.attachSubscription", "pubsub.topics.get"])
    error_message = "The member needs the calls of a recovery, and no others."
  }
}
