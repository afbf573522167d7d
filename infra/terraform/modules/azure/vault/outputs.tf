output "id" {
  description = "Id of the vault."
  value       = azurerm_key_vault.this.id
}

output "secret_uris" {
  description = "URI of each secret, by name; it includes the version, so that a new version restarts the functions."
  value       = { for name, secret in azurerm_key_vault_secret.this : name => secret.id }
}
