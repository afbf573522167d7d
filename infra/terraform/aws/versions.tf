terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7" # 5.100.0 is applied to an emulator by tests/terraform; the newest schema is checked there too
    }
  }

  # `terraform init -backend-config` sets the bucket and the region.
  backend "s3" {
    key          = "helios/aws.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region     = var.region
  access_key = local.is_emulated ? "test" : null
  secret_key = local.is_emulated ? "test" : null

  skip_credentials_validation = local.is_emulated
  skip_metadata_api_check     = local.is_emulated ? "true" : null

  dynamic "endpoints" {
    for_each = local.is_emulated ? [var.emulator_endpoint] : []

    content {
      apigatewayv2   = endpoints.value
      cloudwatch     = endpoints.value
      events         = endpoints.value
      iam            = endpoints.value
      lambda         = endpoints.value
      logs           = endpoints.value
      secretsmanager = endpoints.value
      sns            = endpoints.value
      sqs            = endpoints.value
      sts            = endpoints.value
    }
  }

  default_tags {
    tags = merge({ Application = var.name, ManagedBy = "terraform" }, var.tags)
  }
}
