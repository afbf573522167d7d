terraform {
  required_version = ">= 1.11"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "5.10.0" # the one that the schema check knows
    }
  }

  # The resource group, the storage account and the container come from `terraform init -backend-config`.
  backend "azurerm" {
    key              = "helios/azure.tfstate"
    use_azuread_auth = true
  }
}

provider "azurerm" {
  subscription_id     = var.subscription_id
  storage_use_azuread = true # the storage account takes no keys

  features {
    # Azure makes alert rules and action groups of its own in the group, which would keep it from being destroyed.
    resource_group {
      prevent_deletion_if_contains_resources = false
    }

    application_insights {
      disable_generated_rule = true
    }
  }
}
