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
    defaults = { email = "helios@shop-1234.iam.gserviceaccount.com", member = "serviceAccount:helios@shop-1234.iam.gserviceaccount.com" }
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
      build_account = "projects/shop-1234/serviceAccounts/build"
      network       = "helios"
      subnetwork    = "helios"
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
}
