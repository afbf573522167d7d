output "id" {
  description = "The vault."
  value       = azurerm_key_vault.this.id
}

output "secret_uris" {
  description = "By name, where the functions find each secret; the version is in it, so that a new one restarts them."
  value       = { for name, secret in azurerm_key_vault_secret.this : name => secret.id }
}
