# The network for outgoing calls of the functions, with one fixed address.

resource "azurerm_virtual_network" "this" {
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  address_space = [var.cidr]
}

resource "azurerm_subnet" "functions" {
  # checkov:skip=CKV2_AZURE_31: the integration only makes outgoing calls; nothing in the subnet can be called
  name                 = "functions"
  resource_group_name  = var.place.resource_group
  virtual_network_name = azurerm_virtual_network.this.name
  address_prefixes     = [cidrsubnet(var.cidr, 1, 0)]

  # Azure Functions documentation, "Flex Consumption plan: virtual network integration": the subnet is delegated to this service.
  delegation {
    name = "functions"

    service_delegation {
      name    = "Microsoft.App/environments"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_subnet" "endpoints" {
  # checkov:skip=CKV2_AZURE_31: only the functions' subnet can reach it, and the functions may reach everything in it
  name                            = "endpoints"
  resource_group_name             = var.place.resource_group
  virtual_network_name            = azurerm_virtual_network.this.name
  address_prefixes                = [cidrsubnet(var.cidr, 1, 1)]
  default_outbound_access_enabled = false
}

resource "azurerm_public_ip" "egress" {
  name                = "${var.name}-egress"
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  allocation_method = "Static"
  sku               = "Standard"
}

resource "azurerm_nat_gateway" "this" {
  name                = var.name
  resource_group_name = var.place.resource_group
  location            = var.place.location
  tags                = var.place.tags

  sku_name = "Standard"
}

resource "azurerm_nat_gateway_public_ip_association" "this" {
  nat_gateway_id       = azurerm_nat_gateway.this.id
  public_ip_address_id = azurerm_public_ip.egress.id
}

resource "azurerm_subnet_nat_gateway_association" "functions" {
  subnet_id      = azurerm_subnet.functions.id
  nat_gateway_id = azurerm_nat_gateway.this.id
}
