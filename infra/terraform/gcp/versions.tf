terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "8.7.0" # the version of the schema check
    }
  }

  # `terraform init -backend-config` sets the bucket.
  backend "gcs" {
    prefix = "helios/gcp"
  }
}

provider "google" {
  project = var.project
  region  = var.region

  default_labels = merge({ application = var.name, managed_by = "terraform" }, var.labels)
}
