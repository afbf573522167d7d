# Tests of single modules.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region = "eu-central-1"
}

run "a_database_without_clients_has_no_public_address" {
  command = plan

  module {
    source = "../modules/aws/database"
  }

  variables {
    name                       = "helios"
    vpc_id                     = "vpc-1"
    subnet_ids                 = ["subnet-1", "subnet-2"]
    function_security_group_id = "sg-1"
    clients                    = {}
    engine_version             = "17.4"
    capacity                   = { min = 0.5, max = 8 }
    instances                  = 2
    backup_days                = 7
    deletion_protection        = true
    password_version           = 1
    log_retention_days         = 30
  }

  assert {
    condition     = alltrue([for instance in aws_rds_cluster_instance.this : !instance.publicly_accessible])
    error_message = "Without clients outside the VPC, the database must not be public."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.clients) == 0
    error_message = "Only the functions may connect."
  }

  assert {
    condition     = aws_rds_cluster.this.storage_encrypted && aws_rds_cluster.this.deletion_protection && !aws_rds_cluster.this.skip_final_snapshot
    error_message = "The database must be encrypted and protected from deletion."
  }

  assert {
    condition     = aws_rds_cluster.this.apply_immediately && alltrue([for instance in aws_rds_cluster_instance.this : instance.apply_immediately])
    error_message = "A new password must be applied immediately, because the functions use it already."
  }

  assert {
    condition     = contains([for one in aws_rds_cluster_parameter_group.this.parameter : "${one.name}=${one.value}"], "rds.force_ssl=1")
    error_message = "The database must refuse connections without TLS."
  }

  assert {
    condition     = contains([for one in aws_rds_cluster_parameter_group.this.parameter : "${one.name}=${one.value}"], "log_parameter_max_length=0")
    error_message = "The log must not contain the parameters of slow statements, which hold payloads."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/rds/cluster/helios/postgresql" && aws_cloudwatch_log_group.this.retention_in_days == 30
    error_message = "The log group that Aurora writes to must have a retention."
  }
}

run "only_a_named_client_may_connect" {
  command = plan

  module {
    source = "../modules/aws/database"
  }

  variables {
    name                       = "helios"
    vpc_id                     = "vpc-1"
    subnet_ids                 = ["subnet-1", "subnet-2"]
    function_security_group_id = "sg-1"
    clients                    = { gcp = "198.51.100.7/32" }
    engine_version             = "17.4"
    capacity                   = { min = 0.5, max = 8 }
    instances                  = 1
    backup_days                = 7
    deletion_protection        = false
    password_version           = 1
    log_retention_days         = 30
  }

  assert {
    condition     = aws_rds_cluster_instance.this[0].publicly_accessible
    error_message = "The database must have a public address for another cloud."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.clients : rule.cidr_ipv4] == ["198.51.100.7/32"]
    error_message = "The security group must admit the named clients, and no others."
  }
}

run "every_queue_and_function_has_its_alarms" {
  command = plan

  module {
    source = "../modules/aws/watch"
  }

  variables {
    name           = "helios"
    email          = "ops@example.org"
    queues         = { events = "helios-events", dead_letters = "helios-events-dlq", relay = "helios-relay" }
    functions      = ["helios-ingest", "helios-relay"]
    rules          = { bus = { EventBusName = "helios", RuleName = "helios-events" } }
    database       = "helios"
    monthly_budget = 100
  }

  assert {
    condition     = toset([for alarm in aws_cloudwatch_metric_alarm.queue : alarm.alarm_name]) == toset(["helios-dead-letters", "helios-ingest-lag", "helios-relay-lag"])
    error_message = "There must be an alarm for dead letters and for the lag of each queue."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.queue["dead-letters"].threshold == 0 && aws_cloudwatch_metric_alarm.queue["dead-letters"].dimensions.QueueName == "helios-events-dlq"
    error_message = "The first dead letter must trigger the alarm."
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.function)) == toset(["helios-ingest-errors", "helios-ingest-throttles", "helios-relay-errors", "helios-relay-throttles"])
    error_message = "There must be an alarm for each function's errors and throttles."
  }

  assert {
    condition     = [for alarm in aws_cloudwatch_metric_alarm.rule : "${alarm.alarm_name} ${alarm.metric_name}"] == ["helios-bus-undelivered FailedInvocations"]
    error_message = "There must be an alarm for events that EventBridge can't deliver."
  }

  assert {
    condition     = one(aws_budgets_budget.this[0].cost_filter).values == tolist(["user:Application$helios"])
    error_message = "The budget must count only resources with the tag."
  }

  assert {
    condition     = length(aws_budgets_budget.this) == 1 && length(aws_sns_topic_subscription.email) == 1
    error_message = "The email address must get the alarms and the budget's notifications."
  }
}

run "the_code_of_a_function_in_a_network_may_not_create_network_interfaces" {
  module {
    source = "../modules/aws/function"
  }

  variables {
    name               = "helios-ingest"
    description        = "Stores."
    package            = "README.md" # any existing file
    runtime            = "python3.11"
    architecture       = "x86_64"
    memory             = 512
    timeout            = 10
    environment        = {}
    permissions        = {}
    network            = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    log_retention_days = 30
  }

  assert {
    condition     = [for one in data.aws_iam_policy_document.this.statement : one.effect if startswith(coalesce(one.sid, "-"), "DenyNetwork")] == ["Deny"]
    error_message = "The function's own code must be denied the permissions that Lambda needs to attach it."
  }
}
