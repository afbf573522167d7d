# The path from a publisher to the queue, or to the function, and to the dead letters.

resource "azurerm_user_assigned_identity" "this" {
  name                = "${var.name}-topic"
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags
}

resource "azurerm_eventgrid_topic" "this" {
  # checkov:skip=CKV_AZURE_191: publishers are outside the network; Entra ID, or a key, authorizes them
  # checkov:skip=CKV_AZURE_192: keys are off unless publish_with_keys enables them
  # checkov:skip=CKV_AZURE_193: the same as CKV_AZURE_191
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  input_schema        = "EventGridSchema"
  local_auth_enabled  = var.keys
  minimum_tls_version = "1.2"

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }
}

resource "azurerm_role_assignment" "publisher" {
  for_each = var.publishers

  scope                = azurerm_eventgrid_topic.this.id
  role_definition_name = "EventGrid Data Sender"
  principal_id         = each.value
}

resource "azurerm_storage_container" "dead_letters" {
  # checkov:skip=CKV2_AZURE_21: the account's activity log records who reads a dead letter
  name               = "dead-letters"
  storage_account_id = var.storage_id
}

resource "azurerm_role_assignment" "dead_letters" {
  scope                = azurerm_storage_container.dead_letters.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
}

# Recoveries list and read the dead letters, and change none.
resource "azurerm_role_assignment" "recovery" {
  for_each = var.recovery_readers

  scope                = azurerm_storage_container.dead_letters.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = each.value
}

resource "azurerm_role_assignment" "queue" {
  count = var.queue == null ? 0 : 1

  scope                = var.queue.id
  role_definition_name = "Storage Queue Data Message Sender"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
}

resource "azurerm_storage_management_policy" "this" {
  storage_account_id = var.storage_id

  rule {
    name    = "dead-letters"
    enabled = true

    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${azurerm_storage_container.dead_letters.name}/"]
    }

    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = var.dead_letter_days
      }
    }
  }
}

resource "azurerm_eventgrid_event_subscription" "this" {
  name                  = "ingest"
  scope                 = azurerm_eventgrid_topic.this.id
  event_delivery_schema = "EventGridSchema"

  dynamic "storage_queue_endpoint" {
    for_each = var.queue[*]

    content {
      storage_account_id                    = var.storage_id
      queue_name                            = storage_queue_endpoint.value.name
      queue_message_time_to_live_in_seconds = var.queue_days * 24 * 3600
    }
  }

  dynamic "delivery_identity" {
    for_each = var.queue[*]

    content {
      type                   = "UserAssigned"
      user_assigned_identity = azurerm_user_assigned_identity.this.id
    }
  }

  dynamic "azure_function_endpoint" {
    for_each = var.queue == null ? [var.function_id] : []

    content {
      function_id                       = azure_function_endpoint.value
      max_events_per_batch              = 500
      preferred_batch_size_in_kilobytes = 256
    }
  }

  retry_policy {
    max_delivery_attempts = var.delivery_attempts
    event_time_to_live    = var.delivery_minutes
  }

  storage_blob_dead_letter_destination {
    storage_account_id          = var.storage_id
    storage_blob_container_name = azurerm_storage_container.dead_letters.name
  }

  dead_letter_identity {
    type                   = "UserAssigned"
    user_assigned_identity = azurerm_user_assigned_identity.this.id
  }

  depends_on = [azurerm_role_assignment.dead_letters, azurerm_role_assignment.queue]
}
