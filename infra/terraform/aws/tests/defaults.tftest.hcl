# The plan when only the region is set.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region = "eu-central-1"
}

run "applies_with_nothing_but_a_region" {
  assert {
    condition     = jsondecode(local.secret_settings).HELIOS_DATABASE_URL == "postgresql://helios:a-password-of-secrets-manager-with-48-characters@helios.cluster-abc.eu-central-1.rds.amazonaws.com:5432/helios?sslmode=require" # pragma: allowlist secret
    error_message = "The secret must contain Aurora's URL, with TLS."
  }

  assert {
    condition     = jsondecode(local.secret_settings).HELIOS_REDIS_URL == "rediss://helios.serverless.euc1.cache.amazonaws.com:6379/0"
    error_message = "The secret must contain ElastiCache's URL, with TLS."
  }

  assert {
    condition     = length(jsondecode(local.secret_settings).HELIOS_NOTIFY_SECRET) >= 32
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

run "the_state_does_not_hold_the_secret" {
  assert {
    condition     = aws_secretsmanager_secret_version.settings.secret_string == null || aws_secretsmanager_secret_version.settings.secret_string == ""
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
