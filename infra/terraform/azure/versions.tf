terraform {
  required_version = ">= 1.11"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "5.10.0" # the version of the schema check
    }
  }

  # `terraform init -backend-config` sets the resource group, the storage account and the container.
  backend "azurerm" {
    key              = "helios/azure.tfstate"
    use_azuread_auth = true
  }
}

provider "azurerm" {
  subscription_id     = var.subscription_id
  storage_use_azuread = true # the storage account accepts no keys

  features {
    # Azure creates alert rules and action groups of its own in the group, which would block its deletion.
    resource_group {
      prevent_deletion_if_contains_resources = false
    }

    application_insights {
      disable_generated_rule = true
    }
  }
}
