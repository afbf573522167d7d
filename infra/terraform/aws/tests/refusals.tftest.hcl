# Invalid values of variables, which Terraform refuses before it calls AWS.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region = "eu-central-1"
}

run "an_emulator_elsewhere" {
  command = plan

  variables {
    emulator_endpoint = "http://emulator.example.org:4566"
    database_url      = "postgresql://helios@127.0.0.1:5432/helios"
    redis_url         = "redis://127.0.0.1:6379/0"
  }

  expect_failures = [var.emulator_endpoint]
}

run "an_emulator_without_a_database_and_a_cache" {
  command = plan

  variables {
    emulator_endpoint = "http://127.0.0.1:4566"
  }

  expect_failures = [var.database_url, var.redis_url]
}

run "a_database_without_tls" {
  command = plan

  variables {
    database_url = "postgresql://helios@db.example.org/helios"
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

run "a_database_open_to_the_internet" {
  command = plan

  variables {
    database_clients = { everybody = "0.0.0.0/0" }
  }

  expect_failures = [var.database_clients]
}

run "a_queue_that_delivers_events_in_progress_again" {
  command = plan

  variables {
    visibility_seconds = 60
  }

  expect_failures = [var.visibility_seconds]
}

run "a_queue_that_gives_up_within_a_failover" {
  command = plan

  variables {
    max_receives = 4
  }

  expect_failures = [var.max_receives]
}

run "a_queue_whose_events_expire_before_the_last_delivery" {
  command = plan

  variables {
    max_receives       = 1000
    visibility_seconds = 600
  }

  expect_failures = [var.max_receives]
}

run "packages_that_were_not_built" {
  command = plan

  variables {
    packages = "no-such-folder"
  }

  expect_failures = [var.packages]
}

run "packages_that_were_built_for_another_processor" {
  command = plan

  variables {
    architecture = "arm64"
  }

  expect_failures = [var.packages]
}

run "a_runtime_that_amazon_no_longer_supports" {
  command = plan

  variables {
    runtime = "python3.11"
  }

  expect_failures = [var.runtime]
}

run "a_statement_that_lasts_longer_than_the_call" {
  command = plan

  variables {
    settings = { HELIOS_DATABASE_TIMEOUT_SECONDS = "10" }
  }

  expect_failures = [var.settings]
}

run "a_reservation_of_nothing" {
  command = plan

  variables {
    reserved_concurrency = { api = 0 }
  }

  expect_failures = [var.reserved_concurrency]
}

run "a_boundary_that_is_no_policy" {
  command = plan

  variables {
    permissions_boundary = "boundary-helios"
  }

  expect_failures = [var.permissions_boundary]
}

run "a_name_that_ends_with_a_hyphen" {
  command = plan

  variables {
    name = "helios-"
  }

  expect_failures = [var.name]
}

run "a_name_with_two_hyphens_in_a_row" {
  command = plan

  variables {
    name = "he--lios"
  }

  expect_failures = [var.name]
}

run "a_minor_version_of_the_database" {
  command = plan

  variables {
    database_major_version = 17.4
  }

  expect_failures = [var.database_major_version]
}

run "a_name_that_no_bucket_may_have" {
  command = plan

  variables {
    name = "Helios_1"
  }

  expect_failures = [var.name]
}

run "a_setting_without_the_prefix" {
  command = plan

  variables {
    settings = { PATH = "/" }
  }

  expect_failures = [var.settings]
}

run "a_short_notify_secret" {
  command = plan

  variables {
    notify_secret = "short" # pragma: allowlist secret
  }

  expect_failures = [var.notify_secret]
}

run "a_zone_too_few" {
  command = plan

  variables {
    zones = 1
  }

  expect_failures = [var.zones]
}

run "a_replay_to_a_host_without_a_signature" {
  command = plan

  variables {
    replay_hosts = ["hooks.example.org"]
  }

  expect_failures = [var.replay_hosts]
}

run "a_replay_to_a_url" {
  command = plan

  variables {
    replay_hosts    = ["https://hooks.example.org/helios"]
    secret_settings = { HELIOS_REPLAY_SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n" } # pragma: allowlist secret
  }

  expect_failures = [var.replay_hosts]
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

run "a_layer_without_its_version" {
  command = plan

  variables {
    otlp_url   = "http://localhost:4318"
    otlp_layer = "arn:aws:lambda:eu-central-1:123456789012:layer:collector"
  }

  expect_failures = [var.otlp_layer]
}

run "a_layer_without_a_collector_s_address" {
  command = plan

  variables {
    otlp_layer = "arn:aws:lambda:eu-central-1:123456789012:layer:collector:1"
  }

  expect_failures = [var.otlp_layer]
}
