# The plan when only the region is set.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region = "eu-central-1"
}

run "applies_with_nothing_but_a_region" {
  assert {
    condition     = jsondecode(local.secret_settings["settings"]).HELIOS_DATABASE_URL == "postgresql://helios_aws:a-password-of-secrets-manager-with-48-characters@helios.cluster-abc.eu-central-1.rds.amazonaws.com:5432/helios?sslmode=verify-full" # pragma: allowlist secret
    error_message = "The secret must contain Aurora's URL with AWS' own role, and require Aurora's certificate."
  }

  assert {
    condition     = jsondecode(local.secret_settings["settings"]).HELIOS_REDIS_URL == "rediss://helios.serverless.euc1.cache.amazonaws.com:6379/0"
    error_message = "The secret must contain ElastiCache's URL, with TLS."
  }

  assert {
    condition     = length(jsondecode(local.secret_settings["settings"]).HELIOS_NOTIFY_SECRET) >= 32
    error_message = "A notify secret must be generated."
  }

  assert {
    condition     = output.websocket_url == "wss://abc.execute-api.eu-central-1.amazonaws.com/live"
    error_message = "The URL for clients must name the stage."
  }

  assert {
    condition     = output.dashboard_url == "https://d1.cloudfront.net"
    error_message = "The dashboard must be served by CloudFront."
  }
}

run "each_cloud_has_its_own_role_of_the_database" {
  assert {
    condition = {
      for role, url in output.database_urls : role => regex("^postgresql://([a-z_]+):.*sslmode=verify-full$", url)[0]
      } == {
      admin = "helios", migrate = "helios_migrate", api = "helios_api", aws = "helios_aws", gcp = "helios_gcp", azure = "helios_azure"
    }
    error_message = "Each cloud, the API and the migration must have a role of their own, and require Aurora's certificate."
  }

  assert {
    condition     = output.database_url == output.database_urls["migrate"] && output.has_database_roles
    error_message = "The URL for the command line must be that of the migrating role."
  }

  assert {
    condition     = strcontains(jsondecode(local.secret_settings["api-settings"]).HELIOS_DATABASE_URL, "//helios_api:")
    error_message = "The functions that the internet can call must have the API's role."
  }

  assert {
    condition = alltrue([
      for name, function in local.functions :
      try(function.secret, "settings") == lookup({ api = "api-settings", websocket = "api-settings", sweep = "owner-settings" }, name, "settings")
    ])
    error_message = "Only the functions that the internet can call may read the API's secret, and only the sweep the owner's."
  }
}

run "every_limit_is_shorter_than_the_one_around_it" {
  command = plan

  assert {
    condition     = tonumber(local.runtime_environment.HELIOS_DATABASE_TIMEOUT_SECONDS) < var.function_timeout
    error_message = "Postgres must end a statement before Lambda ends the call."
  }

  assert {
    condition     = local.visibility_seconds >= 6 * var.function_timeout + aws_lambda_event_source_mapping.ingest.maximum_batching_window_in_seconds
    error_message = "SQS must deliver again only after Lambda has ended every retry of the call."
  }

  assert {
    condition     = var.max_receives * local.visibility_seconds >= 12 * 3600
    error_message = "Events must wait out an outage of twelve hours."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.ingest.scaling_config[0].maximum_concurrency <= 5
    error_message = "A new account may run 10 functions at once: a backlog must leave some for the API and the relay."
  }

  assert {
    condition     = local.functions.relay.timeout > local.statement_seconds + 8
    error_message = "The relay must have time for messages beside what it reserves for one message (7 s), one statement and a second."
  }

  assert {
    condition     = local.functions.relay.timeout <= local.visibility_seconds
    error_message = "SQS must not deliver a notification again while the relay works on it."
  }

  assert {
    condition     = var.memory.ingest >= 1769 && var.memory.relay >= 1769
    error_message = "The functions that hold locks or post to every client must have a whole vCPU."
  }
}

run "the_queues_the_apis_and_the_schedule_call_the_released_version" {
  assert {
    condition = alltrue([
      for function in [
        aws_lambda_event_source_mapping.ingest.function_name,
        aws_lambda_event_source_mapping.relay.function_name,
        aws_cloudwatch_event_target.every_minute["sweep"].arn,
      ] : endswith(function, ":live")
    ])
    error_message = "A new version must get no calls before its release."
  }

  assert {
    condition     = alltrue([for permission in aws_lambda_permission.every_minute : permission.qualifier == "live"])
    error_message = "The schedule must be allowed to call the alias."
  }
}

run "the_state_does_not_hold_the_secret" {
  assert {
    condition     = alltrue([for version in aws_secretsmanager_secret_version.settings : version.secret_string == null || version.secret_string == ""])
    error_message = "The state must not hold a write-only value."
  }
}

run "no_secret_is_a_variable_of_a_function" {
  command = plan

  assert {
    condition = alltrue([
      for function in local.functions : length(setintersection(
        keys(merge(local.runtime_environment, function.environment)),
        ["HELIOS_DATABASE_URL", "HELIOS_REDIS_URL", "HELIOS_NOTIFY_SECRET"],
      )) == 0
    ])
    error_message = "Passwords must be in the secret: anyone who may view a function sees its environment variables."
  }
}

run "no_spans_by_default" {
  assert {
    condition     = !contains(keys(local.runtime_environment), "HELIOS_OTLP_URL") && !strcontains(local.secret_settings["settings"], "HELIOS_OTLP_SECRET")
    error_message = "Without otlp_url the functions must not send spans."
  }
}

run "the_functions_send_spans_to_a_collector" {
  variables {
    otlp_url    = "https://collector.example.org:4318"
    settings    = { OPENTELEMETRY_COLLECTOR_CONFIG_URI = "/opt/collector.yaml" }
    otlp_layer  = "arn:aws:lambda:eu-central-1:123456789012:layer:collector:1"
    otlp_secret = "authorization=Bearer%20a-token-of-the-collector" # pragma: allowlist secret
  }

  assert {
    condition     = local.runtime_environment["OPENTELEMETRY_COLLECTOR_CONFIG_URI"] == "/opt/collector.yaml" && local.runtime_environment["HELIOS_OTLP_URL"] == var.otlp_url && local.runtime_environment["HELIOS_OTLP_RESOURCE"] == "service.name=helios,cloud.provider=aws"
    error_message = "The functions must know the collector, and name their cloud."
  }

  assert {
    condition     = jsondecode(local.secret_settings["settings"]).HELIOS_OTLP_SECRET == var.otlp_secret && !contains(keys(local.runtime_environment), "HELIOS_OTLP_SECRET")
    error_message = "The headers must be in the secret, and no variable of a function."
  }

  assert {
    condition     = local.otlp_ports == tolist([4318])
    error_message = "The functions must be able to reach the collector's port."
  }

  assert {
    condition     = toset([for name, function in module.function : name if contains(function.layers, var.otlp_layer)]) == toset(["api", "ingest", "replay"])
    error_message = "The functions that store batches must have the layer, and no others."
  }
}

run "no_role_may_do_everything" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for function in local.functions : [
        for permission in function.permissions : [
          for word in concat(permission.actions, permission.resources) : !endswith(word, ":*") && word != "*"
        ]
      ]
    ]))
    error_message = "Each permission must name its actions and its resources."
  }
}

run "existing_services_are_not_created" {
  command = plan

  variables {
    database_url     = "postgresql://helios@db.example.org/helios?sslmode=verify-full"
    redis_url        = "rediss://cache.example.org:6379"
    dashboard_origin = "https://helios.example.org"
  }

  assert {
    condition     = length(module.network) + length(module.database) + length(module.cache) + length(module.dashboard) == 0
    error_message = "With an existing database, cache and dashboard, none of them may be created, and no network."
  }

  assert {
    condition     = alltrue([for name in ["api", "websocket"] : local.functions[name].environment.HELIOS_DASHBOARD_ORIGIN == "https://helios.example.org"])
    error_message = "Both functions for browsers must know the dashboard's origin."
  }
}

run "replays_have_no_external_target_by_default" {
  command = plan

  assert {
    condition     = length(local.replay_targets) == 0 && keys(local.functions.replay.permissions) == ["Notify"]
    error_message = "By default replay jobs may send stored events to the connected clients only."
  }

  assert {
    condition     = aws_cloudwatch_event_target.every_minute["replay"].rule == aws_cloudwatch_event_rule.every_minute.name
    error_message = "The schedule must call the function that runs replay jobs."
  }
}

run "the_api_and_the_replays_function_know_the_same_targets" {
  command = plan

  variables {
    replay_hosts    = ["hooks.example.org", "private:hooks.internal:8443"]
    replay_to_bus   = true
    secret_settings = { HELIOS_REPLAY_SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n" } # pragma: allowlist secret
  }

  assert {
    condition = alltrue([
      for name in ["api", "replay"] :
      local.functions[name].environment.HELIOS_REPLAY_HOSTS == "hooks.example.org private:hooks.internal:8443" &&
      local.functions[name].environment.HELIOS_REPLAY_TOPICS == "aws=helios"
    ])
    error_message = "The API must accept exactly the targets to which the replay function can send."
  }

  assert {
    condition = toset([
      for name, function in local.functions : name
      if anytrue([for permission in function.permissions : contains(permission.actions, "events:PutEvents")])
    ]) == toset(["replay"])
    error_message = "Only the replay function may put events on the bus."
  }

  assert {
    condition     = local.functions.replay.permissions.PutBack.resources == [module.events.bus_arn]
    error_message = "The permission must name this bus, and no other one."
  }
}

run "recoveries_are_off_by_default" {
  command = plan

  assert {
    condition     = alltrue([for function in local.functions : !contains(keys(function.environment), "HELIOS_RECOVERY_PLACES")]) && output.recovery_places == null
    error_message = "No function may search a place unless recoveries are on."
  }

  assert {
    condition = alltrue(flatten([
      for function in local.functions : [for permission in function.permissions : !contains(permission.actions, "events:StartReplay")]
    ]))
    error_message = "No function may start a replay unless recoveries are on."
  }
}

run "only_the_sweep_brings_events_back" {
  variables {
    recoveries = true
  }

  assert {
    condition = alltrue([
      for name in ["api", "sweep"] :
      local.functions[name].environment.HELIOS_RECOVERY_PLACES == "aws-archive=${module.events.archive_arn} aws-queue=${module.events.queue.arn} aws-dead-letters=${module.events.dead_letter_queue.url}"
    ])
    error_message = "The API, which starts recoveries, and the sweep, which does them, must know the same places."
  }

  assert {
    condition = toset([
      for name, function in local.functions : name
      if anytrue([for permission in function.permissions : contains(permission.actions, "events:StartReplay")])
    ]) == toset(["sweep"])
    error_message = "Only the sweep may start a replay."
  }

  assert {
    condition     = alltrue([for arn in local.functions.sweep.permissions.RecoveryRules.resources : endswith(arn, ":rule/helios/helios-recovery-*")])
    error_message = "The sweep may change no rule but those of recoveries."
  }
}

run "every_function_reads_the_declarations_in_its_package" {
  variables {
    flows_file   = "tests/defaults.tftest.hcl" # any existing file: the package contains it
    sources_file = "tests/defaults.tftest.hcl"
  }

  assert {
    condition     = local.runtime_environment.HELIOS_FLOWS_FILE == "/var/task/flows.toml" && local.runtime_environment.HELIOS_SOURCES_FILE == "/var/task/sources.toml"
    error_message = "Every function must read the files from the folder of its package."
  }
}

run "the_relay_and_the_sweep_alone_notify" {
  variables {
    notifications_file = "tests/defaults.tftest.hcl" # any existing file: the package contains it
    secret_settings    = { HELIOS_NOTIFICATION_SECRETS = "ops=whsec_x" }
  }

  assert {
    condition = {
      for name, function in local.functions : name => function.environment.HELIOS_NOTIFICATIONS_FILE
      if can(function.environment.HELIOS_NOTIFICATIONS_FILE)
    } == { relay = "/var/task/notifications.toml", sweep = "/var/task/notifications.toml" }
    error_message = "The relay and the sweep must read the receivers, and no other function."
  }
}

run "receivers_without_secrets_are_refused" {
  command = plan

  variables {
    notifications_file = "tests/defaults.tftest.hcl"
  }

  expect_failures = [var.notifications_file]
}

run "nothing_archives_by_default" {
  command = plan

  assert {
    condition     = !contains(keys(local.functions), "archive") && length(aws_cloudwatch_event_rule.archive) == 0 && !contains(keys(local.runtime_environment), "HELIOS_ARCHIVE_URL")
    error_message = "Without archive there must be no function, no schedule and no setting for it."
  }

  assert {
    condition     = length(local.archive_readers) == 0 && length(local.archive_layers) == 0 && local.functions.api.timeout == var.function_timeout
    error_message = "Without archive no function may have a layer or more time for it."
  }
}

run "a_function_archives_once_an_hour" {
  variables {
    archive = {}
  }

  assert {
    condition     = aws_cloudwatch_event_rule.archive[0].schedule_expression == "rate(1 hour)" && aws_cloudwatch_event_target.archive[0].arn == module.function["archive"].arn
    error_message = "The schedule must call the function, through its alias."
  }

  assert {
    condition     = local.runtime_environment.HELIOS_ARCHIVE_URL == "s3://helios-archive-123456789012/events"
    error_message = "Every function must know that there is an archive: HELIOS_RETENTION drops no events without."
  }

  assert {
    condition     = !anytrue([for name, function in local.functions : anytrue([for permission in values(function.permissions) : anytrue([for action in permission.actions : startswith(action, "s3:")])]) if name != "archive"])
    error_message = "No other function may change the archive."
  }

  assert {
    condition     = toset([for name, function in module.function : name if length(function.layers) > 0]) == toset(["api", "archive", "replay", "sweep"])
    error_message = "The functions that fill and read the archive must have its packages, and no other one."
  }

  assert {
    condition     = local.archive_readers == toset(["api", "replay", "sweep"]) && toset(flatten([for allowed in values(local.reading_permissions) : allowed.actions])) == toset(["s3:GetObject"])
    error_message = "The functions that read the archive may not change it."
  }

  assert {
    condition     = local.functions.api.timeout < 30 && local.functions.api.timeout > var.function_timeout
    error_message = "A read of the archive must have time, and end before API Gateway gives up."
  }

  assert {
    condition     = local.functions.api.secret == "api-settings" && local.functions.sweep.secret == "owner-settings"
    error_message = "The functions that read the archive must have a role of the database that may read the list of its files."
  }

  assert {
    condition     = alltrue([for resource in local.functions.archive.permissions.ArchiveFiles.resources : endswith(resource, "/events/*")])
    error_message = "The function may not change its own package."
  }

  assert {
    condition     = local.functions.archive.secret == "owner-settings" && !contains(keys(local.functions.archive.environment), "ARCHIVE_SECRET_ID")
    error_message = "The function drops partitions, for which it must own the tables; a bucket of AWS needs no further credentials."
  }

  assert {
    condition     = length(module.network[0].s3_endpoint_ids) == 1
    error_message = "The traffic of the archive must not pass the NAT gateway."
  }
}

run "a_function_archives_to_another_cloud_with_the_credentials_of_a_secret" {
  variables {
    archive = {
      url        = "az://archive/helios"
      secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:archive-a1b2c3"

      read_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:archive-read-d4e5f6"
    }
  }

  assert {
    condition     = local.runtime_environment.HELIOS_ARCHIVE_URL == "az://archive/helios" && output.archive.url == "az://archive/helios"
    error_message = "The target must be that of the variable."
  }

  assert {
    condition     = local.functions.archive.environment.ARCHIVE_SECRET_ID == var.archive.secret_arn && one(local.functions.archive.permissions.ArchiveCredentials.resources) == var.archive.secret_arn
    error_message = "The function must be able to read this secret, and no other one."
  }

  assert {
    condition     = !contains(keys(local.functions.archive.permissions), "ArchiveFiles")
    error_message = "The function needs no access to a bucket that it does not use."
  }

  assert {
    condition     = local.reading_environment.ARCHIVE_SECRET_ID == var.archive.read_secret_arn && join(",", keys(local.reading_permissions)) == "ArchiveCredentials" && one(local.reading_permissions.ArchiveCredentials.resources) == var.archive.read_secret_arn
    error_message = "The functions that only read must have the credentials that only read."
  }

  assert {
    condition     = length(module.network[0].s3_endpoint_ids) == 0
    error_message = "A target outside of AWS needs no gateway to S3."
  }
}

run "a_task_archives_in_place_of_the_function" {
  command = plan

  variables {
    archive = {
      task = {
        cluster_arn         = "arn:aws:ecs:eu-central-1:123456789012:cluster/helios"
        task_definition_arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/helios-archive:1"
        role_arns           = ["arn:aws:iam::123456789012:role/helios-archive"]
        subnet_ids          = ["subnet-1"]
        security_group_ids  = ["sg-1"]
      }
    }
  }

  assert {
    condition     = !contains(keys(local.functions), "archive") && length(aws_cloudwatch_event_rule.archive) == 0
    error_message = "One schedule must archive, and not two."
  }
}

run "a_folder_of_a_function_is_no_archive" {
  command = plan

  variables {
    archive = { url = "/tmp/archive" }
  }

  expect_failures = [var.archive]
}
