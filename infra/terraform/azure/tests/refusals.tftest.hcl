# Invalid values of variables, which Terraform refuses before it calls the cloud.

mock_provider "azurerm" {
  mock_data "azurerm_client_config" {
    defaults = {
      tenant_id = "00000000-0000-0000-0000-000000000001"
      object_id = "00000000-0000-0000-0000-000000000002"
    }
  }
}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
  location        = "westeurope"
  suffix          = "x42"
  package         = "tests/root.tftest.hcl"
  database_url    = "postgresql://helios:secret@db.example.org/helios?sslmode=require"
}

run "a_subscription_s_name" {
  command = plan

  variables {
    subscription_id = "production"
  }

  expect_failures = [var.subscription_id]
}

run "a_location_by_its_display_name" {
  command = plan

  variables {
    location = "West Europe"
  }

  expect_failures = [var.location]
}

run "a_suffix_with_a_hyphen" {
  command = plan

  variables {
    suffix = "x-42"
  }

  expect_failures = [var.suffix]
}

run "a_network_too_small" {
  command = plan

  variables {
    vnet_cidr = "10.42.0.0/28"
  }

  expect_failures = [var.vnet_cidr]
}

run "too_many_attempts" {
  command = plan

  variables {
    delivery_attempts = 31
  }

  expect_failures = [var.delivery_attempts]
}

run "too_few_instances" {
  command = plan

  variables {
    max_instances = 10
  }

  expect_failures = [var.max_instances]
}

run "a_publisher_by_name" {
  command = plan

  variables {
    publishers = { shop = "shop@example.org" }
  }

  expect_failures = [var.publishers]
}

run "a_deployer_by_name" {
  command = plan

  variables {
    deployers = { me = "me@example.org" }
  }

  expect_failures = [var.deployers]
}

run "a_name_with_a_hyphen" {
  command = plan

  variables {
    name = "helios-two"
  }

  expect_failures = [var.name]
}

run "a_database_without_tls" {
  command = plan

  variables {
    database_url = "postgresql://helios:secret@db.example.org/helios"
  }

  expect_failures = [var.database_url]
}

run "a_database_that_is_no_postgres" {
  command = plan

  variables {
    database_url = "mysql://db.example.org/helios?sslmode=require"
  }

  expect_failures = [var.database_url]
}

run "a_cache_without_tls" {
  command = plan

  variables {
    redis_url = "redis://cache.example.org:6379"
  }

  expect_failures = [var.redis_url]
}

run "a_notify_url_elsewhere" {
  command = plan

  variables {
    notify_url    = "https://api.example.org/notify"
    notify_secret = "0123456789abcdef0123456789abcdef"
  }

  expect_failures = [var.notify_url]
}

run "a_notify_url_without_its_secret" {
  command = plan

  variables {
    notify_url = "https://api.example.org/api/v1/relay/notify"
  }

  expect_failures = [var.notify_secret]
}

run "a_short_notify_secret" {
  command = plan

  variables {
    notify_secret = "short"
    notify_url    = "https://api.example.org/api/v1/relay/notify"
  }

  expect_failures = [var.notify_secret]
}

run "a_setting_without_the_prefix" {
  command = plan

  variables {
    settings = { LOG_LEVEL = "DEBUG" }
  }

  expect_failures = [var.settings]
}

run "a_package_that_was_not_built" {
  command = plan

  variables {
    package = "nowhere.zip"
  }

  expect_failures = [var.package]
}

run "an_email_address_without_an_at" {
  command = plan

  variables {
    alarm_email = "somebody"
  }

  expect_failures = [var.alarm_email]
}

run "a_queue_that_forgets_events_before_the_last_attempt" {
  command = plan

  variables {
    queue_days = 1
  }

  expect_failures = [var.queue_days]
}

run "a_budget_without_an_address" {
  command = plan

  variables {
    budget = 100
  }

  expect_failures = [var.budget]
}

run "a_budget_of_nothing" {
  command = plan

  variables {
    budget      = 0
    alarm_email = "ops@example.org"
  }

  expect_failures = [var.budget]
}

run "a_collector_without_a_scheme" {
  command = plan

  variables {
    otlp_url = "collector.example.org:4318"
  }

  expect_failures = [var.otlp_url]
}

run "headers_without_a_collector" {
  command = plan

  variables {
    otlp_secret = "authorization=Bearer%20a-token-of-the-collector" # pragma: allowlist secret
  }

  expect_failures = [var.otlp_secret]
}
