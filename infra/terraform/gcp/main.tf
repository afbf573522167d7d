# Helios on Google Cloud: Pub/Sub delivers to one function, a schedule calls another; both write to the same Postgres.

data "google_project" "this" {}

locals {
  # Google's service agents in this project.
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  makes_cache = nonsensitive(var.redis_url == null)
  redis_url   = local.makes_cache ? module.cache[0].url : var.redis_url

  # Only the names: the values are secret, so they can't determine the number of resources.
  secret_names = nonsensitive(toset(concat(["DATABASE_URL", "REDIS_URL"], var.notify_secret == null ? [] : ["NOTIFY_SECRET"], var.otlp_secret == null ? [] : ["OTLP_SECRET"])))
  secrets = {
    DATABASE_URL  = var.database_url
    REDIS_URL     = local.redis_url
    NOTIFY_SECRET = var.notify_secret
    OTLP_SECRET   = var.otlp_secret
  }

  # The package contains the declarations.
  settings = merge(
    var.notify_url == null ? {} : { HELIOS_NOTIFY_URL = var.notify_url },
    var.otlp_url == null ? {} : {
      HELIOS_OTLP_URL      = var.otlp_url
      HELIOS_OTLP_RESOURCE = "service.name=${var.name},cloud.provider=gcp"
    },
    var.flows_file == null ? {} : { HELIOS_FLOWS_FILE = "/workspace/flows.toml" },
    var.sources_file == null ? {} : { HELIOS_SOURCES_FILE = "/workspace/sources.toml" },
    var.settings,
  )
}

resource "google_project_service" "this" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudscheduler.googleapis.com",
    "compute.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "redis.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
  ])

  service            = each.key
  disable_on_destroy = false # other code in the project may use it
}

module "network" {
  source = "../modules/gcp/network"

  name        = var.name
  region      = var.region
  subnet_cidr = var.subnet_cidr

  depends_on = [google_project_service.this]
}

module "cache" {
  source = "../modules/gcp/cache"
  count  = local.makes_cache ? 1 : 0

  name       = var.name
  region     = var.region
  network_id = module.network.network_id
  gigabytes  = var.cache.gigabytes
  tier       = var.cache.tier

  depends_on = [google_project_service.this]
}

# One secret per setting, so that access to one is not access to all.

resource "google_secret_manager_secret" "this" {
  for_each = local.secret_names

  secret_id = "${var.name}-${lower(replace(each.key, "_", "-"))}"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_version" "this" {
  for_each = local.secret_names

  secret = google_secret_manager_secret.this[each.key].id

  # A write-only value: the state does not hold it. A part of its digest is the version, which shows a change.
  secret_data_wo         = local.secrets[each.key]
  secret_data_wo_version = nonsensitive(parseint(substr(sha256(local.secrets[each.key]), 0, 8), 16))
}

# The package.

resource "google_storage_bucket" "packages" {
  # checkov:skip=CKV_GCP_62: only Cloud Build reads it, and Cloud Audit Logs record each access
  name                        = "${var.project}-${var.name}-packages"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  lifecycle_rule {
    condition {
      num_newer_versions = 5
    }

    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_object" "package" {
  bucket = google_storage_bucket.packages.name
  name   = "gcp-${filesha256(var.package)}.zip" # a new name for new content makes Google build the functions again
  source = var.package
}

resource "google_service_account" "build" {
  account_id   = "${var.name}-build"
  display_name = "Builds Helios' functions"

  depends_on = [google_project_service.this]
}

# Cloud Run functions documentation, "Custom service account for Cloud Build": the role that replaces the default
# account's wide ones. It is granted on the project because the build's repository does not exist before the first build.
resource "google_project_iam_member" "build" {
  # checkov:skip=CKV_GCP_49: the account impersonates no other; the role is the narrowest that Google offers for builds
  project = var.project
  role    = "roles/cloudbuild.builds.builder"
  member  = google_service_account.build.member
}

# A new role becomes effective within minutes, and a build without it fails. Google has no call that says when: its own
# samples wait for a minute. The network and the cache are created meanwhile.
resource "terraform_data" "build_role" {
  triggers_replace = [google_project_iam_member.build.id]

  provisioner "local-exec" {
    command = "sleep 120"
  }
}

locals {
  function = {
    region        = var.region
    runtime       = var.runtime
    bucket        = google_storage_bucket.packages.name
    object        = google_storage_bucket_object.package.name
    build_account = google_service_account.build.id
    network       = module.network.network_id
    subnetwork    = module.network.subnetwork_id
    settings      = local.settings
    certificate   = local.makes_cache ? module.cache[0].certificate_secret : null
    secrets = {
      for name in local.secret_names : "HELIOS_${name}" => {
        secret  = google_secret_manager_secret.this[name].secret_id
        version = google_secret_manager_secret_version.this[name].version
      }
    }
  }
}

module "ingest" {
  source = "../modules/gcp/function"

  name          = "${var.name}-ingest"
  description   = "Stores the events that Pub/Sub delivers."
  project       = var.project
  entry_point   = "ingest"
  memory        = "512Mi"
  concurrency   = 80 # requests that wait for Postgres: the function stores them in batches
  max_instances = var.max_instances
  min_instances = var.min_instances
  callers       = [module.topic.push_account_member]
  function      = local.function

  depends_on = [terraform_data.build_role]
}

module "sweep" {
  source = "../modules/gcp/function"

  name          = "${var.name}-sweep"
  description   = "Closes overdue flow instances, once a minute."
  project       = var.project
  entry_point   = "sweep"
  memory        = "256Mi"
  concurrency   = 1
  max_instances = 1
  min_instances = 0
  callers       = [google_service_account.scheduler.member]
  function      = local.function

  depends_on = [terraform_data.build_role]
}

module "topic" {
  source = "../modules/gcp/ingest-topic"

  name              = var.name
  pubsub_agent      = local.pubsub_agent
  push_url          = module.ingest.url
  delivery_attempts = var.delivery_attempts
  retention_days    = var.retention_days
  publishers        = var.publishers
  recovery_members  = var.recovery_members

  depends_on = [google_project_service.this]
}

# The sweep's schedule.

resource "google_service_account" "scheduler" {
  account_id   = "${var.name}-scheduler"
  display_name = "Calls Helios' sweep"

  depends_on = [google_project_service.this]
}

resource "google_cloud_scheduler_job" "sweep" {
  name             = "${var.name}-sweep"
  description      = "Calls the sweep once a minute."
  region           = var.region
  schedule         = "* * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "30s" # a failed call is not repeated, by default: the call of the next minute replaces it

  http_target {
    http_method = "POST"
    uri         = module.sweep.url

    oidc_token {
      service_account_email = google_service_account.scheduler.email
      audience              = module.sweep.url
    }
  }
}

module "watch" {
  source = "../modules/gcp/watch"

  name                     = var.name
  project                  = data.google_project.this.number
  billing_account          = var.billing_account
  budget                   = var.budget
  nat_name                 = module.network.nat_name
  ingest                   = module.ingest.name
  subscription             = module.topic.subscription
  dead_letter_subscription = module.topic.dead_letter_subscription
  functions                = [module.ingest.name, module.sweep.name]
  email                    = var.alarm_email

  depends_on = [google_project_service.this]
}
