# One function and its service account.

locals {
  # Cloud Run documentation, "Configure Direct VPC egress for 2nd gen functions": the function's own account needs it too.
  callers = concat(var.callers, [google_service_account.this.member])

  # The secrets that the function reads, by name, whether as a variable or as a file.
  readable = merge(
    { for variable, secret in var.function.secrets : variable => secret.secret },
    var.function.certificate == null ? {} : { certificate = var.function.certificate.secret },
  )
}

resource "google_service_account" "this" {
  account_id   = var.name
  display_name = var.description
}

resource "google_secret_manager_secret_iam_member" "this" {
  for_each = local.readable

  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.this.member
}

resource "google_cloudfunctions2_function" "this" {
  name        = var.name
  description = var.description
  location    = var.function.region

  build_config {
    runtime         = var.function.runtime
    entry_point     = var.entry_point
    service_account = var.function.build_account

    source {
      storage_source {
        bucket = var.function.bucket
        object = var.function.object
      }
    }
  }

  service_config {
    available_memory                 = var.memory
    available_cpu                    = var.concurrency > 1 ? "1" : null # with less CPU, an instance may serve one request at a time only
    max_instance_request_concurrency = var.concurrency
    min_instance_count               = var.min_instances
    max_instance_count               = var.max_instances
    timeout_seconds                  = 30 # a request needs no longer: an instance serves once it reaches the database
    service_account_email            = google_service_account.this.email
    environment_variables            = merge({ THREADS = tostring(var.concurrency) }, var.function.settings)
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    all_traffic_on_latest_revision   = false                    # leave the calls where they are: scripts/deploy/release.py moves them
    direct_vpc_egress                = "VPC_EGRESS_ALL_TRAFFIC" # otherwise the database would see an address of Google's

    direct_vpc_network_interface {
      network    = var.function.network
      subnetwork = var.function.subnetwork
    }

    dynamic "secret_environment_variables" {
      for_each = var.function.secrets

      content {
        key        = secret_environment_variables.key
        project_id = var.project
        secret     = secret_environment_variables.value.secret
        version    = secret_environment_variables.value.version # a number and not "latest": a new one is a new revision
      }
    }

    dynamic "secret_volumes" {
      for_each = var.function.certificate == null ? [] : [var.function.certificate]

      content {
        mount_path = dirname(secret_volumes.value.path)
        project_id = var.project
        secret     = secret_volumes.value.secret

        versions {
          version = secret_volumes.value.version
          path    = basename(secret_volumes.value.path)
        }
      }
    }
  }

  lifecycle {
    # Google answers true until a release names a revision in the traffic of the service, and false from then on.
    ignore_changes = [service_config[0].all_traffic_on_latest_revision]
  }

  depends_on = [google_secret_manager_secret_iam_member.this]
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  count = length(local.callers)

  location = var.function.region
  name     = google_cloudfunctions2_function.this.name # the service behind a function has its name
  role     = "roles/run.invoker"
  member   = local.callers[count.index]
}
