# The function app, its storage account and its log.

resource "azurerm_storage_account" "this" {
  # checkov:skip=CKV_AZURE_33: the account has no queues
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

resource "azurerm_user_assigned_identity" "this" {
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags
}

# Azure Functions documentation, "Connecting to host storage with an identity": the roles that the host and the timer need.
resource "azurerm_role_assignment" "storage" {
  scope                = azurerm_storage_account.this.id
  role_definition_name = "Storage Blob Data Owner"
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

  app_settings = merge(var.settings, {
    # The provider writes a connection string without a key here, which the host would prefer to the identity below.
    AzureWebJobsStorage              = ""
    AzureWebJobsStorage__accountName = azurerm_storage_account.this.name
    AzureWebJobsStorage__credential  = "managedidentity"
    AzureWebJobsStorage__clientId    = azurerm_user_assigned_identity.this.client_id
  })

  site_config {
    application_insights_connection_string = azurerm_application_insights.this.connection_string
    minimum_tls_version                    = "1.2"
    http2_enabled                          = true
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
  triggers_replace = [azurerm_function_app_flex_consumption.this.id, filesha256(var.package)]

  provisioner "local-exec" {
    # "Use Key Vault references as app settings": references that could not be read when the app was created are refreshed
    # until the role for the vault is effective. The publication is retried until the role for the package is effective.
    command = <<-EOT
      references="$APP/config/configreferences/appsettings"
      version="api-version=2022-03-01"

      resolved() {
        az rest --method post --url "$references/refresh?$version" --output none
        known=$(az rest --method get --url "$references?$version" --output tsv \
          --query "length(value[?properties.status=='Resolved'])")
        [ "$known" -eq "$SECRETS" ]
      }

      publish() {
        az functionapp deployment source config-zip --ids "$APP" --src "$PACKAGE" --build-remote false --output none
      }

      retry() {
        left=$1
        shift
        until "$@"; do
          left=$((left - 1))
          [ "$left" -gt 0 ] || { echo "$1: no success after all attempts" >&2; exit 1; }
          sleep 15
        done
      }

      retry 40 resolved
      retry 4 publish
    EOT

    environment = {
      APP     = azurerm_function_app_flex_consumption.this.id
      PACKAGE = abspath(var.package)
      SECRETS = length([for value in values(var.settings) : value if startswith(value, "@Microsoft.KeyVault(")])
    }
  }

  depends_on = [azurerm_role_assignment.vault]
}
