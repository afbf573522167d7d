# The key vault with the secrets.

resource "azurerm_key_vault" "this" {
  # checkov:skip=CKV_AZURE_109: the deployer writes the secrets from outside the network; Entra ID authorizes it
  # checkov:skip=CKV_AZURE_189: the same
  # checkov:skip=CKV2_AZURE_32: the same
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  tenant_id                  = var.tenant_id
  sku_name                   = "standard"
  rbac_authorization_enabled = true
  purge_protection_enabled   = true
  soft_delete_retention_days = 7
}

resource "azurerm_role_assignment" "writer" {
  for_each = var.writers

  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = each.value
}

# Roles become effective after minutes: see writable.sh.
resource "terraform_data" "writable" {
  triggers_replace = [for assignment in azurerm_role_assignment.writer : assignment.id]

  provisioner "local-exec" {
    command = file("${path.module}/writable.sh")

    environment = {
      SIGNED_IN = abspath("${path.module}/../signed-in.sh")
      VAULT     = azurerm_key_vault.this.name
    }
  }
}

resource "azurerm_key_vault_secret" "this" {
  # checkov:skip=CKV_AZURE_41: secrets are valid until they are rotated; an expiry date would stop the functions on that day
  for_each = var.secret_names

  name         = each.key
  content_type = "text/plain"

  # A write-only value: the state does not hold it. A part of its digest is the version, which shows a change.
  value_wo         = var.secrets[each.key]
  value_wo_version = nonsensitive(parseint(substr(sha256(var.secrets[each.key]), 0, 8), 16))

  key_vault_id = azurerm_key_vault.this.id
  tags         = var.place.tags

  depends_on = [terraform_data.writable]
}
