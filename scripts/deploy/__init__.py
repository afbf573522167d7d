"""Deploys Helios to AWS, Google Cloud and Azure with Terraform, tests the deployment and removes it."""
