# Helios on Azure: Event Grid delivers to a queue, from which one function takes the events; a timer calls another
# function. Both write to the same Postgres.

data "azurerm_client_config" "this" {}

locals {
  unique = "${var.name}${var.suffix}" # for names that must be unique in all of Azure
  tags   = merge({ Application = var.name, ManagedBy = "terraform" }, var.tags)

  # The place of every resource, for all modules.
  place = {
    resource_group = azurerm_resource_group.this.name
    location       = var.location
    tags           = local.tags
  }

  # Without named deployers, the identity that applies the root is the deployer.
  deployers = length(var.deployers) > 0 ? var.deployers : { deployer = data.azurerm_client_config.this.object_id }

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

  settings = merge(
    { for name in local.secret_names : "HELIOS_${name}" => "@Microsoft.KeyVault(SecretUri=${module.vault.secret_uris[lower(replace(name, "_", "-"))]})" },
    var.notify_url == null ? {} : { HELIOS_NOTIFY_URL = var.notify_url },
    var.otlp_url == null ? {} : {
      HELIOS_OTLP_URL      = var.otlp_url
      HELIOS_OTLP_RESOURCE = "service.name=${var.name},cloud.provider=azure"
    },
    var.flows_file == null ? {} : { HELIOS_FLOWS_FILE = "/home/site/wwwroot/flows.toml" }, # the package contains them
    var.sources_file == null ? {} : { HELIOS_SOURCES_FILE = "/home/site/wwwroot/sources.toml" },
    var.settings,
  )
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
  tags     = local.tags
}

module "network" {
  source = "../modules/azure/network"

  name  = var.name
  place = local.place
  cidr  = var.vnet_cidr
}

module "cache" {
  source = "../modules/azure/cache"
  count  = local.makes_cache ? 1 : 0

  name       = local.unique
  place      = local.place
  sku        = var.cache_sku
  network_id = module.network.network_id
  subnet_id  = module.network.endpoints_subnet_id
}

module "vault" {
  source = "../modules/azure/vault"

  name         = local.unique
  place        = local.place
  tenant_id    = data.azurerm_client_config.this.tenant_id
  writers      = local.deployers
  secret_names = [for name in local.secret_names : lower(replace(name, "_", "-"))]
  secrets      = { for name in local.secret_names : lower(replace(name, "_", "-")) => local.secrets[name] }
}

module "function_app" {
  source = "../modules/azure/function-app"

  name               = local.unique
  place              = local.place
  package            = var.package
  python_version     = var.python_version
  memory             = var.memory
  max_instances      = var.max_instances
  subnet_id          = module.network.functions_subnet_id
  vault_id           = module.vault.id
  log_retention_days = var.log_retention_days
  settings           = local.settings
}

module "event_grid" {
  source = "../modules/azure/event-grid"

  name              = local.unique
  place             = local.place
  function_id       = "${module.function_app.id}/functions/ingest"
  queue             = var.queue ? { id = module.function_app.queue_id, name = module.function_app.queue_name } : null
  queue_days        = var.queue_days
  storage_id        = module.function_app.storage_id
  delivery_attempts = var.delivery_attempts
  delivery_minutes  = var.delivery_minutes
  dead_letter_days  = var.dead_letter_days
  publishers        = merge(local.deployers, var.publishers)
  keys              = var.publish_with_keys
  recovery_readers  = var.recovery_readers
}

module "watch" {
  source = "../modules/azure/watch"

  name           = var.name
  place          = local.place
  group_id       = azurerm_resource_group.this.id
  topic_id       = module.event_grid.topic_id
  insights_id    = module.function_app.insights_id
  nat_gateway_id = module.network.nat_gateway_id
  email          = var.alarm_email
  budget         = var.budget
}
