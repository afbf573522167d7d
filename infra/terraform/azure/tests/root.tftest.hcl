# The plan of the root, with a provider that knows only its schema.

mock_provider "azurerm" {
  mock_data "azurerm_client_config" {
    defaults = {
      tenant_id = "00000000-0000-0000-0000-000000000001"
      object_id = "00000000-0000-0000-0000-000000000002"
    }
  }

  # Ids have the form of Azure's, because the real provider checks it.

  mock_resource "azurerm_resource_group" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios"
    }
  }

  mock_resource "azurerm_virtual_network" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Network/virtualNetworks/helios"
    }
  }

  mock_resource "azurerm_subnet" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Network/virtualNetworks/helios/subnets/functions"
    }
  }

  mock_resource "azurerm_public_ip" {
    defaults = {
      id         = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Network/publicIPAddresses/helios-egress"
      ip_address = "198.51.100.8"
    }
  }

  mock_resource "azurerm_nat_gateway" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Network/natGateways/helios"
    }
  }

  mock_resource "azurerm_private_dns_zone" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Network/privateDnsZones/privatelink.redis.azure.net"
    }
  }

  mock_resource "azurerm_storage_account" {
    defaults = {
      id                     = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Storage/storageAccounts/heliosx42"
      primary_blob_endpoint  = "https://heliosx42.blob.example.org/"
      primary_queue_endpoint = "https://heliosx42.queue.example.org/"
    }
  }

  mock_resource "azurerm_storage_container" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Storage/storageAccounts/heliosx42/blobServices/default/containers/packages"
    }
  }

  mock_resource "azurerm_storage_queue" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Storage/storageAccounts/heliosx42/queueServices/default/queues/events"
    }
  }

  mock_resource "azurerm_user_assigned_identity" {
    defaults = {
      id           = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.ManagedIdentity/userAssignedIdentities/heliosx42"
      client_id    = "00000000-0000-0000-0000-000000000006"
      principal_id = "00000000-0000-0000-0000-000000000007"
      tenant_id    = "00000000-0000-0000-0000-000000000001"
    }
  }

  mock_resource "azurerm_log_analytics_workspace" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.OperationalInsights/workspaces/heliosx42"
    }
  }

  mock_resource "azurerm_application_insights" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Insights/components/heliosx42"
    }
  }

  mock_resource "azurerm_monitor_action_group" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Insights/actionGroups/helios-alarms"
    }
  }

  mock_resource "azurerm_service_plan" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Web/serverFarms/heliosx42"
    }
  }

  mock_resource "azurerm_eventgrid_topic" {
    defaults = {
      id                 = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.EventGrid/topics/heliosx42"
      endpoint           = "https://heliosx42.example.org/api/events"
      primary_access_key = "key"
    }
  }

  mock_resource "azurerm_key_vault" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.KeyVault/vaults/heliosx42"
    }
  }

  mock_resource "azurerm_key_vault_secret" {
    defaults = {
      id             = "https://heliosx42.vault.example.org/secrets/one/0123456789abcdef0123456789abcdef"
      versionless_id = "https://heliosx42.vault.example.org/secrets/one"
    }
  }

  mock_resource "azurerm_managed_redis" {
    defaults = {
      id       = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Cache/redisEnterprise/heliosx42"
      hostname = "heliosx42.redis.example.org"
    }
  }
}

override_resource {
  target = module.cache[0].azurerm_managed_redis.this
  values = {
    hostname         = "helios42.redis.example.org"
    default_database = { primary_access_key = "a+b=", port = 10000 }
  }
}

override_resource {
  target = module.function_app.azurerm_function_app_flex_consumption.this
  values = {
    id       = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Web/sites/heliosx42"
    identity = { principal_id = "00000000-0000-0000-0000-000000000003" }
  }
}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
  location        = "westeurope"
  suffix          = "x42"
  package         = "tests/root.tftest.hcl" # any existing file: nothing is deployed
  database_url    = "postgresql://helios:secret@db.example.org/helios?sslmode=require"
}

run "alone" {
  assert {
    condition     = module.function_app.name == "heliosx42"
    error_message = "The suffix must make the function app's name unique."
  }

  assert {
    condition     = local.redis_url == "rediss://:a%2Bb%3D@helios42.redis.example.org:10000/0"
    error_message = "The functions must use the created cache, over TLS, with its key encoded for a URL."
  }

  assert {
    condition     = local.secret_names == toset(["DATABASE_URL", "REDIS_URL"])
    error_message = "Without notifications there must be two secrets."
  }

  assert {
    condition     = output.topic_key == null
    error_message = "The topic must accept no keys by default."
  }

  assert {
    condition     = local.deployers == tomap({ deployer = "00000000-0000-0000-0000-000000000002" })
    error_message = "Without deployers, the applying identity must be able to write the secrets and to publish."
  }

  assert {
    condition     = output.egress_address == "198.51.100.8"
    error_message = "The fixed address must be an output."
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
    condition     = local.settings["HELIOS_OTLP_URL"] == "https://collector.example.org:4318" && local.settings["HELIOS_OTLP_RESOURCE"] == "service.name=helios,cloud.provider=azure"
    error_message = "The functions must know the collector, and name their cloud."
  }

  assert {
    condition     = local.secret_names == toset(["DATABASE_URL", "REDIS_URL", "OTLP_SECRET"]) && startswith(local.settings["HELIOS_OTLP_SECRET"], "@Microsoft.KeyVault(")
    error_message = "The headers must be a secret, and no plain setting."
  }
}

run "beside_aws" {
  variables {
    redis_url         = "rediss://:secret@cache.example.org:6379/0"
    notify_url        = "https://api.example.org/api/v1/relay/notify"
    notify_secret     = "0123456789abcdef0123456789abcdef"
    publish_with_keys = true
    deployers         = { me = "00000000-0000-0000-0000-000000000004", ci = "00000000-0000-0000-0000-000000000005" }
  }

  assert {
    condition     = length(module.cache) == 0
    error_message = "With an existing cache, none may be created."
  }

  assert {
    condition     = local.secret_names == toset(["DATABASE_URL", "REDIS_URL", "NOTIFY_SECRET"])
    error_message = "The notify secret must be a secret."
  }

  assert {
    condition     = local.deployers == var.deployers
    error_message = "Named deployers must keep their roles, whichever identity applies the root."
  }

  assert {
    condition     = output.topic_key == "key"
    error_message = "With publish_with_keys, the key must be an output."
  }
}

run "event_grid_delivers_to_the_queue" {
  command = plan

  module {
    source = "../modules/azure/event-grid"
  }

  variables {
    name              = "heliosx42"
    place             = { resource_group = "helios", location = "westeurope", tags = {} }
    function_id       = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Web/sites/heliosx42/functions/ingest"
    queue             = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Storage/storageAccounts/heliosx42/queueServices/default/queues/events", name = "events" }
    queue_days        = 7
    storage_id        = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Storage/storageAccounts/heliosx42"
    recovery_readers  = {}
    delivery_attempts = 30
    delivery_minutes  = 1440
    dead_letter_days  = 30
    publishers        = {}
    keys              = false
  }

  assert {
    condition     = azurerm_eventgrid_event_subscription.this.storage_queue_endpoint[0].queue_name == "events" && length(azurerm_eventgrid_event_subscription.this.azure_function_endpoint) == 0
    error_message = "Event Grid must deliver to the queue and not to the function."
  }

  assert {
    condition     = azurerm_eventgrid_event_subscription.this.delivery_identity[0].type == "UserAssigned" && azurerm_role_assignment.queue[0].role_definition_name == "Storage Queue Data Message Sender"
    error_message = "The storage account accepts no keys: the topic's identity must be allowed to send to the queue."
  }
}

run "event_grid_calls_the_function_without_a_queue" {
  command = plan

  module {
    source = "../modules/azure/event-grid"
  }

  variables {
    name              = "heliosx42"
    place             = { resource_group = "helios", location = "westeurope", tags = {} }
    function_id       = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Web/sites/heliosx42/functions/ingest"
    queue             = null
    queue_days        = 7
    storage_id        = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Storage/storageAccounts/heliosx42"
    recovery_readers  = {}
    delivery_attempts = 30
    delivery_minutes  = 1440
    dead_letter_days  = 30
    publishers        = {}
    keys              = false
  }

  assert {
    condition     = azurerm_eventgrid_event_subscription.this.azure_function_endpoint[0].function_id == var.function_id && length(azurerm_eventgrid_event_subscription.this.storage_queue_endpoint) == 0
    error_message = "Without a queue, Event Grid must call the function."
  }

  assert {
    condition     = length(azurerm_eventgrid_event_subscription.this.delivery_identity) == 0 && length(azurerm_role_assignment.queue) == 0
    error_message = "Without a queue, the topic needs no identity for its deliveries."
  }
}

run "the_app_uses_its_storage_by_identity" {
  command = plan

  module {
    source = "../modules/azure/function-app"
  }

  variables {
    name               = "heliosx42"
    place              = { resource_group = "helios", location = "westeurope", tags = {} }
    package            = "tests/root.tftest.hcl"
    python_version     = "3.11"
    memory             = 2048
    max_instances      = 40
    subnet_id          = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.Network/virtualNetworks/helios/subnets/functions"
    vault_id           = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/helios/providers/Microsoft.KeyVault/vaults/heliosx42"
    log_retention_days = 30
    settings           = { HELIOS_LOG_LEVEL = "DEBUG" }
  }

  assert {
    condition     = !contains(keys(local.app_settings), "AzureWebJobsStorage") && azurerm_function_app_flex_consumption.this.app_settings["HELIOS_LOG_LEVEL"] == "DEBUG"
    error_message = "AzureWebJobsStorage must not be set: the host would prefer it to the identity, and an empty value stops the host."
  }

  assert {
    condition     = toset(keys(azurerm_role_assignment.storage)) == toset(["Storage Account Contributor", "Storage Blob Data Owner", "Storage Queue Data Contributor", "Storage Table Data Contributor"])
    error_message = "The host, its diagnostic events and the queue trigger each need their role."
  }

  assert {
    condition     = azurerm_function_app_flex_consumption.this.site_config[0].vnet_route_all_enabled
    error_message = "All calls must leave through the fixed address that the database admits."
  }
}

run "alarms_and_the_budget" {
  command = plan

  variables {
    alarm_email = "ops@example.org"
    budget      = 100
  }

  assert {
    condition     = toset(module.watch.alerts) == toset(["helios-dead-letters", "helios-dropped", "helios-exceptions", "helios-failed-deliveries", "helios-nat-ports", "helios-poisoned", "helios-rejected"])
    error_message = "There must be an alarm for each condition that needs an operator."
  }
}

run "the_functions_read_the_declarations_in_their_package" {
  variables {
    flows_file   = "tests/root.tftest.hcl" # any existing file: the package contains it
    sources_file = "tests/root.tftest.hcl"
  }

  assert {
    condition     = local.settings["HELIOS_FLOWS_FILE"] == "/home/site/wwwroot/flows.toml" && local.settings["HELIOS_SOURCES_FILE"] == "/home/site/wwwroot/sources.toml"
    error_message = "The functions must read the files from the folder of their package."
  }
}

run "nobody_reads_dead_letters_by_default" {
  command = plan

  assert {
    condition     = length(module.event_grid.recovery_roles) == 0 && output.recovery_places == null
    error_message = "Without recovery_readers, only Event Grid and the function app may use the container."
  }
}

run "a_named_reader_brings_events_back" {
  command = plan

  variables {
    recovery_readers = { serve = "00000000-0000-0000-0000-00000000000a" }
  }

  assert {
    condition     = module.event_grid.recovery_roles == { serve = "Storage Blob Data Reader" }
    error_message = "The reader must be able to read the dead letters, and nothing more."
  }

  assert {
    condition     = output.recovery_places == "azure-dead-letters=https://heliosx42.blob.core.windows.net/dead-letters"
    error_message = "The output must be the setting of Helios."
  }
}
