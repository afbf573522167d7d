terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "8.7.0" # the one that the schema check knows
    }
  }

  # The bucket comes from `terraform init -backend-config`.
  backend "gcs" {
    prefix = "helios/gcp"
  }
}

provider "google" {
  project = var.project
  region  = var.region

  default_labels = merge({ application = var.name, managed_by = "terraform" }, var.labels)
}
