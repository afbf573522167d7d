# The dedupe cache of this cloud.

resource "azurerm_managed_redis" "this" {
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  sku_name                  = var.sku
  high_availability_enabled = false # losing it costs speed, never events
  public_network_access     = "Disabled"

  default_database {
    access_keys_authentication_enabled = true # Helios reads a URL, which holds a password
    client_protocol                    = "Encrypted"
    clustering_policy                  = "EnterpriseCluster"
    eviction_policy                    = "VolatileTTL" # when full, it evicts the keys that expire next
  }
}

# Azure Private Link documentation, "Private endpoint DNS zone values": the name of the zone for Azure Managed Redis.
resource "azurerm_private_dns_zone" "this" {
  name                = "privatelink.redis.azure.net"
  resource_group_name = var.place.resource_group
  tags                = var.place.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  name                = var.name
  private_dns_zone_id = azurerm_private_dns_zone.this.id
  virtual_network_id  = var.network_id
  tags                = var.place.tags
}

resource "azurerm_private_endpoint" "this" {
  name                = "${var.name}-redis"
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  subnet_id = var.subnet_id

  private_service_connection {
    name                           = "redis"
    private_connection_resource_id = azurerm_managed_redis.this.id
    subresource_names              = ["redisEnterprise"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "redis"
    private_dns_zone_ids = [azurerm_private_dns_zone.this.id]
  }
}
