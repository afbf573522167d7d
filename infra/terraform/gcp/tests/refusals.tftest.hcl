# Invalid values of variables, which Terraform refuses before it calls the cloud.

mock_provider "google" {}

variables {
  project      = "shop-1234"
  region       = "europe-west3"
  package      = "tests/root.tftest.hcl"
  database_url = "postgresql://helios:secret@db.example.org/helios?sslmode=require"
}

run "a_project_s_name" {
  command = plan

  variables {
    project = "My Shop"
  }

  expect_failures = [var.project]
}

run "a_zone" {
  command = plan

  variables {
    region = "europe-west3-a"
  }

  expect_failures = [var.region]
}

run "all_users_as_publishers" {
  command = plan

  variables {
    publishers = ["allUsers"]
  }

  expect_failures = [var.publishers]
}

run "a_subnet_too_small" {
  command = plan

  variables {
    subnet_cidr = "10.41.0.0/28"
  }

  expect_failures = [var.subnet_cidr]
}

run "too_few_attempts" {
  command = plan

  variables {
    delivery_attempts = 4
  }

  expect_failures = [var.delivery_attempts]
}

run "a_name_too_long" {
  command = plan

  variables {
    name = "helios-of-the-whole-company"
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

run "a_budget_without_a_billing_account" {
  command = plan

  variables {
    budget = 100
  }

  expect_failures = [var.budget]
}

run "a_billing_account_by_name" {
  command = plan

  variables {
    billing_account = "My Billing Account"
    budget          = 100
  }

  expect_failures = [var.billing_account]
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
