# The function app, its storage account with the queue of events, and its log.

locals {
  # The functions in the package, by function_app.py.
  functions = ["ingest", "ingest_queued", "sweep"]

  app_settings = merge(var.settings, {
    # AzureWebJobsStorage itself must not be set, see publish.sh.
    AzureWebJobsStorage__accountName = azurerm_storage_account.this.name
    AzureWebJobsStorage__credential  = "managedidentity"
    AzureWebJobsStorage__clientId    = azurerm_user_assigned_identity.this.client_id

    # The connection of the queue trigger.
    EventQueue__queueServiceUri = azurerm_storage_account.this.primary_queue_endpoint
    EventQueue__credential      = "managedidentity"
    EventQueue__clientId        = azurerm_user_assigned_identity.this.client_id
  })

  # Values that change the app: each write of the app brings back the settings that publish.sh deletes.
  written = {
    settings       = local.app_settings
    python_version = var.python_version
    memory         = var.memory
    max_instances  = var.max_instances
    subnet_id      = var.subnet_id
    tags           = var.place.tags
  }
}

resource "azurerm_storage_account" "this" {
  # checkov:skip=CKV_AZURE_33: a record of each request would be larger than the queue; the functions log each batch
  # checkov:skip=CKV_AZURE_59: the deployment comes from outside the network; the account accepts no keys, so Entra ID authorizes it
  # checkov:skip=CKV_AZURE_206: packages can be built again; dead letters have three copies
  # checkov:skip=CKV2_AZURE_1: Microsoft's key encrypts it; a customer managed key would have to be managed
  # checkov:skip=CKV2_AZURE_33: the same as CKV_AZURE_59
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  account_tier                    = "Standard"
  account_replication_type        = "LRS"
  min_tls_version                 = "TLS1_2"
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
  allow_nested_items_to_be_public = false
  local_user_enabled              = false

  blob_properties {
    delete_retention_policy {
      days = 7
    }

    container_delete_retention_policy {
      days = 7
    }
  }
}

resource "azurerm_storage_container" "packages" {
  # checkov:skip=CKV2_AZURE_21: reading a package needs no record
  name               = "packages"
  storage_account_id = azurerm_storage_account.this.id
}

# Event Grid delays all deliveries, for hours, to an endpoint that failed. It never fails on a queue: an outage of the
# database or of the functions is then a backlog, which drains as soon as they are back.
resource "azurerm_storage_queue" "events" {
  name               = "events"
  storage_account_id = azurerm_storage_account.this.id
}

# Azure Functions documentation, "Azure Queue storage trigger", "Poison messages": the name is the host's.
resource "azurerm_storage_queue" "poison" {
  name               = "${azurerm_storage_queue.events.name}-poison"
  storage_account_id = azurerm_storage_account.this.id
}

resource "azurerm_user_assigned_identity" "this" {
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags
}

# Azure Functions documentation, "Connecting to host storage with an identity": the host needs to own blobs, and the
# tables for its diagnostic events; the queue trigger needs the queue. Users report that the host also reads and writes
# the properties of the blob service, which only "Storage Account Contributor" allows without the account's keys.
resource "azurerm_role_assignment" "storage" {
  for_each = toset([
    "Storage Account Contributor",
    "Storage Blob Data Owner",
    "Storage Queue Data Contributor",
    "Storage Table Data Contributor",
  ])

  scope                = azurerm_storage_account.this.id
  role_definition_name = each.key
  principal_id         = azurerm_user_assigned_identity.this.principal_id
}

resource "azurerm_log_analytics_workspace" "this" {
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  sku               = "PerGB2018"
  retention_in_days = var.log_retention_days
}

resource "azurerm_application_insights" "this" {
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  application_type = "web"
  workspace_id     = azurerm_log_analytics_workspace.this.id
}

resource "azurerm_service_plan" "this" {
  # checkov:skip=CKV_AZURE_212: Flex Consumption scales automatically
  # checkov:skip=CKV_AZURE_225: events wait in Event Grid while a zone is down
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  os_type  = "Linux"
  sku_name = "FC1"
}

resource "azurerm_function_app_flex_consumption" "this" {
  # checkov:skip=CKV_AZURE_221: Event Grid calls it from outside the network, with the app's own key
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  service_plan_id                                = azurerm_service_plan.this.id
  runtime_name                                   = "python"
  runtime_version                                = var.python_version
  instance_memory_in_mb                          = var.memory
  maximum_instance_count                         = var.max_instances
  virtual_network_subnet_id                      = var.subnet_id
  https_only                                     = true
  webdeploy_publish_basic_authentication_enabled = false

  storage_container_type            = "blobContainer"
  storage_container_endpoint        = "${azurerm_storage_account.this.primary_blob_endpoint}${azurerm_storage_container.packages.name}"
  storage_authentication_type       = "UserAssignedIdentity"
  storage_user_assigned_identity_id = azurerm_user_assigned_identity.this.id

  identity {
    type         = "SystemAssigned, UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  app_settings = local.app_settings

  site_config {
    application_insights_connection_string = azurerm_application_insights.this.connection_string
    minimum_tls_version                    = "1.2"
    http2_enabled                          = true
    vnet_route_all_enabled                 = true # otherwise the database may see an address of Azure's
  }

  lifecycle {
    # The provider writes this setting and does not read it: no plan may show it, and publish.sh deletes it.
    ignore_changes = [app_settings["AzureWebJobsStorage"]]
  }

  depends_on = [azurerm_role_assignment.storage]
}

resource "azurerm_role_assignment" "vault" {
  scope                = var.vault_id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_function_app_flex_consumption.this.identity[0].principal_id
}

# The code is published last, by Azure's own command line. The provider would publish it with a password, which is
# disabled here; before the app may read its secrets; and never again while the file's name is the same.
resource "terraform_data" "code" {
  triggers_replace = [
    azurerm_function_app_flex_consumption.this.id,
    filesha256(var.package),
    sha256(jsonencode(local.written)),
  ]

  provisioner "local-exec" {
    command = file("${path.module}/publish.sh")

    environment = {
      SIGNED_IN = abspath("${path.module}/../signed-in.sh")
      APP       = azurerm_function_app_flex_consumption.this.id
      PACKAGE   = abspath(var.package)
      SECRETS   = length([for value in values(var.settings) : value if startswith(value, "@Microsoft.KeyVault(")])
      FUNCTIONS = join(" ", local.functions)
    }
  }

  depends_on = [azurerm_role_assignment.vault]
}
