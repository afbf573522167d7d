# The path from a publisher to the function, and to the dead letters.

locals {
  retention = "${var.retention_days * 24 * 3600}s"
}

resource "google_pubsub_topic" "this" {
  # checkov:skip=CKV_GCP_83: Google's key encrypts it; a customer managed key would have to be managed in the project
  name                       = "${var.name}-events"
  message_retention_duration = local.retention # allows seeking back in time after a mistake
}

resource "google_pubsub_topic" "dead_letters" {
  # checkov:skip=CKV_GCP_83: the same
  name = "${var.name}-dead-letters"
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = var.publishers

  topic  = google_pubsub_topic.this.id
  role   = "roles/pubsub.publisher"
  member = each.key
}

resource "google_service_account" "push" {
  account_id   = "${var.name}-push"
  display_name = "Pub/Sub, as the ingest function sees it"
}

resource "google_service_account_iam_member" "push_token" {
  service_account_id = google_service_account.push.id
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = var.pubsub_agent
}

resource "google_pubsub_subscription" "this" {
  name                       = "${var.name}-ingest"
  topic                      = google_pubsub_topic.this.id
  ack_deadline_seconds       = 60 # twice the function's timeout
  message_retention_duration = local.retention

  push_config {
    # With this parameter Pub/Sub sends a CloudEvent, as Eventarc's own subscriptions do: the body alone does not name the topic.
    push_endpoint = "${var.push_url}?__GCP_CloudEventsMode=CUSTOM_PUBSUB_${urlencode(google_pubsub_topic.this.id)}"

    oidc_token {
      service_account_email = google_service_account.push.email
      audience              = var.push_url
    }
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = var.delivery_attempts
  }

  expiration_policy { # drift:skip=the provider reads an empty duration back
    ttl = ""          # never expires: a month without messages must not delete the subscription
  }

  # Cloud Pub/Sub documentation, "Dead-letter topics": without both permissions Pub/Sub never moves the messages.
  depends_on = [google_pubsub_topic_iam_member.dead_letters, google_service_account_iam_member.push_token]
}

# Recoveries. They create a side subscription of the topic, seek it and delete it, and pull the dead letters. Its name is
# not known before, so that the role applies to the project's subscriptions; to topics other than this one it does not.
resource "google_project_iam_custom_role" "recovery" {
  count = length(var.recovery_members) > 0 ? 1 : 0

  role_id     = "${replace(var.name, "-", "_")}_recovery"
  title       = "Brings events back for ${var.name}"
  description = "Creates, seeks and deletes side subscriptions, and reads messages from them."
  permissions = [
    "pubsub.subscriptions.consume", # pull, acknowledge and seek
    "pubsub.subscriptions.create",
    "pubsub.subscriptions.delete",
  ]
}

resource "google_project_iam_member" "recovery" {
  for_each = var.recovery_members

  project = google_pubsub_topic.this.project
  role    = google_project_iam_custom_role.recovery[0].name
  member  = each.key
}

# To attach a subscription to a topic, and to list those that are.
resource "google_project_iam_custom_role" "recovery_topic" {
  count = length(var.recovery_members) > 0 ? 1 : 0

  role_id     = "${replace(var.name, "-", "_")}_recovery_topic"
  title       = "Reads the topic of ${var.name} again"
  description = "Attaches subscriptions to a topic, and lists them."
  permissions = ["pubsub.topics.attachSubscription", "pubsub.topics.get"]
}

resource "google_pubsub_topic_iam_member" "recovery" {
  for_each = var.recovery_members

  topic  = google_pubsub_topic.this.id
  role   = google_project_iam_custom_role.recovery_topic[0].name
  member = each.key
}

resource "google_pubsub_topic_iam_member" "dead_letters" {
  topic  = google_pubsub_topic.dead_letters.id
  role   = "roles/pubsub.publisher"
  member = var.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  subscription = google_pubsub_subscription.this.id
  role         = "roles/pubsub.subscriber"
  member       = var.pubsub_agent
}

resource "google_pubsub_subscription" "dead_letters" {
  name                       = "${var.name}-dead-letters"
  topic                      = google_pubsub_topic.dead_letters.id
  message_retention_duration = local.retention

  expiration_policy { # drift:skip=the provider reads an empty duration back
    ttl = ""
  }
}
