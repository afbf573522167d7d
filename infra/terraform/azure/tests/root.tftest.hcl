# The plan of the root, with a provider that knows only its schema.

mock_provider "azurerm" {
  mock_data "azurerm_client_config" {
    defaults = {
      tenant_id = "00000000-0000-0000-0000-000000000001"
      object_id = "00000000-0000-0000-0000-000000000002"
    }
  }

  mock_resource "azurerm_public_ip" {
    defaults = { ip_address = "198.51.100.8" }
  }

  mock_resource "azurerm_storage_account" {
    defaults = { primary_blob_endpoint = "https://helios42.blob.example.org/" }
  }

  mock_resource "azurerm_eventgrid_topic" {
    defaults = { endpoint = "https://helios42.example.org/api/events", primary_access_key = "key" }
  }

  mock_resource "azurerm_key_vault_secret" {
    defaults = { id = "https://helios42.vault.example.org/secrets/one/1" }
  }

  mock_resource "azurerm_function_app_flex_consumption" {
    defaults = { id = "/subscriptions/1/sites/helios42" }
  }

  mock_resource "azurerm_managed_redis" {
    defaults = { hostname = "helios42.redis.example.org" }
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
    id       = "/subscriptions/1/sites/helios42"
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
