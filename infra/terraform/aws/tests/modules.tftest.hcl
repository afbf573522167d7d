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
    major_version              = 17
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
    condition     = data.aws_rds_engine_version.this.latest && data.aws_rds_engine_version.this.parameter_group_family == "aurora-postgresql17"
    error_message = "AWS refuses minor versions that it has retired, so the newest one must be asked for."
  }

  assert {
    condition     = aws_rds_cluster.this.engine_version == "17.7" && aws_rds_cluster_parameter_group.this.family == "aurora-postgresql17"
    error_message = "The cluster must have the newest minor version of the major version."
  }

  assert {
    condition     = alltrue([for instance in aws_rds_cluster_instance.this : !instance.performance_insights_enabled])
    error_message = "The smallest capacity has no memory for Performance Insights."
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
    major_version              = 17
    capacity                   = { min = 2, max = 8 }
    instances                  = 1
    backup_days                = 7
    deletion_protection        = false
    password_version           = 1
    log_retention_days         = 30
  }

  assert {
    condition     = aws_rds_cluster_instance.this[0].performance_insights_enabled
    error_message = "From two units on, Performance Insights must be on."
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
    nat_gateways   = ["nat-0123456789abcdef0"]
    monthly_budget = 100

    namespace         = "Helios/helios"
    max_connections   = 500
    storage_gigabytes = 200
    archives          = true
    apis              = { http = "http1", websocket = "ws1", access_log = "/aws/vendedlogs/apigateway/helios-api" }
  }

  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.service :
      name => "${alarm.namespace} ${alarm.metric_name} ${alarm.comparison_operator} ${alarm.threshold}"
      } == {
      "api-errors"           = "AWS/ApiGateway 5xx GreaterThanThreshold 5"
      "api-throttled"        = "Helios/helios api_throttled GreaterThanThreshold 10"
      "websocket-errors"     = "AWS/ApiGateway IntegrationError GreaterThanThreshold 5"
      "nat-ports"            = "AWS/NATGateway ErrorPortAllocation GreaterThanThreshold 0"
      "partitions"           = "Helios/helios partitions_ahead LessThanThreshold 2"
      "archive"              = "Helios/helios archive_silent_seconds GreaterThanThreshold 172800"
      "incidents"            = "Helios/helios serious_incidents GreaterThanThreshold 0"
      "notifications"        = "Helios/helios failing_notifications GreaterThanThreshold 0"
      "database-capacity"    = "AWS/RDS ACUUtilization GreaterThanThreshold 90"
      "database-connections" = "AWS/RDS DatabaseConnections GreaterThanThreshold 500"
      "database-storage"     = "AWS/RDS VolumeBytesUsed GreaterThanThreshold 200000000000"
    }
    error_message = "There must be an alarm for each service around the functions."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.service["partitions"].treat_missing_data == "breaching"
    error_message = "A sweep that does not run must trigger the alarm, although it sends no metric."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.rejected.namespace == "Helios/helios"
    error_message = "The metrics of two deployments in one account must not be mixed."
  }

  assert {
    condition     = aws_cloudwatch_log_metric_filter.throttled.pattern == "{ $.status = \"429\" }"
    error_message = "The access log writes the status as text."
  }

  assert {
    condition = alltrue([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets :
      widget.properties.region == "eu-central-1" && length(widget.properties.metrics) > 0 && widget.x + widget.width <= 24
    ]) && length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == 17
    error_message = "Each widget must show metrics of this region, within the width of the page."
  }

  assert {
    condition = length(setsubtract(
      concat([for alarm in aws_cloudwatch_metric_alarm.service : alarm.metric_name], ["rejected", "ApproximateAgeOfOldestMessage", "Errors"]),
      flatten([for widget in local.widgets : [for metric in widget.metrics : metric[1]]]),
    )) == 0
    error_message = "The dashboard must show what the alarms watch."
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
    runtime            = "python3.13"
    architecture       = "x86_64"
    memory             = 512
    timeout            = 10
    environment        = {}
    layers             = []
    permissions        = {}
    network            = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    log_retention_days = 30

    permissions_boundary = "arn:aws:iam::123456789012:policy/boundary-helios"
    reserved_concurrency = 50
    is_scheduled         = true
  }

  assert {
    condition     = aws_iam_role.this.permissions_boundary == var.permissions_boundary
    error_message = "The role must have the boundary, without which the deploying role may not create it."
  }

  assert {
    condition     = aws_lambda_function_event_invoke_config.scheduled[0].maximum_retry_attempts == 0 && aws_lambda_function_event_invoke_config.scheduled[0].qualifier == "live"
    error_message = "The schedule repeats a failed call: Lambda must not repeat it too."
  }

  assert {
    condition     = aws_lambda_function.this.publish && aws_lambda_function.this.reserved_concurrent_executions == 50
    error_message = "Every change must be a version, and the reservation must be the function's."
  }

  assert {
    condition     = [for one in data.aws_iam_policy_document.this.statement : one.effect if startswith(coalesce(one.sid, "-"), "DenyNetwork")] == ["Deny"]
    error_message = "The function's own code must be denied the permissions that Lambda needs to attach it."
  }
}

run "zones_that_lack_services_are_left_out_by_their_id" {
  command = plan

  module {
    source = "../modules/aws/network"
  }

  variables {
    name               = "helios"
    cidr               = "10.40.0.0/16"
    zones              = 2
    egress_ports       = [443]
    is_database_public = false
    endpoints          = {}
    s3                 = { actions = ["s3:GetObject"], resources = ["arn:aws:s3:::helios-archive-123456789012/events/*"] }
  }

  assert {
    condition     = aws_vpc_endpoint.s3[0].vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.s3[0].service_name == "com.amazonaws.eu-central-1.s3"
    error_message = "S3 must be reached through a gateway, which has no price."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.endpoints["s3"].statement).resources == toset(var.s3.resources)
    error_message = "The gateway must let nothing through but what the functions need."
  }

  assert {
    condition     = contains(data.aws_availability_zones.available.exclude_zone_ids, "use1-az3")
    error_message = "The names of zones differ by account, so the zone must be left out by its id."
  }
}

run "an_access_log_needs_no_entry_in_the_account_s_resource_policy" {
  command = plan

  module {
    source = "../modules/aws/http-api"
  }

  variables {
    name                = "helios-api"
    function            = { name = "helios-api", qualifier = "live", arn = "arn:aws:lambda:eu-central-1:123456789012:function:helios-api:live" }
    requests_per_second = 500
    log_retention_days  = 30
  }

  assert {
    condition     = startswith(aws_cloudwatch_log_group.access.name, "/aws/vendedlogs/")
    error_message = "The policy is limited in size, and full in accounts with many APIs."
  }
}

run "a_missing_file_of_the_dashboard_is_not_the_page" {
  command = plan

  module {
    source = "../modules/aws/dashboard"
  }

  variables {
    name       = "helios"
    connect_to = ["https://api.example.org"]
  }

  assert {
    condition     = length(aws_cloudfront_distribution.this.custom_error_response) == 0
    error_message = "An old tab must get a 404 for a script of an earlier build, and not the page."
  }

  assert {
    condition     = contains(flatten([for statement in data.aws_iam_policy_document.bucket.statement : statement.actions]), "s3:ListBucket")
    error_message = "Without this permission S3 answers 403 for a missing file."
  }

  assert {
    condition     = !aws_cloudfront_response_headers_policy.this.security_headers_config[0].strict_transport_security[0].preload
    error_message = "Only the owner of cloudfront.net could put it on the browsers' lists."
  }
}

run "without_a_database_nothing_watches_one" {
  command = plan

  module {
    source = "../modules/aws/watch"
  }

  variables {
    name           = "helios"
    email          = null
    queues         = { events = "helios-events", dead_letters = "helios-events-dlq", relay = "helios-relay" }
    functions      = ["helios-ingest"]
    rules          = {}
    nat_gateways   = []
    database       = null
    monthly_budget = 100

    namespace         = "Helios/helios"
    max_connections   = 500
    storage_gigabytes = 200
    archives          = true
    apis              = { http = "http1", websocket = "ws1", access_log = "/aws/vendedlogs/apigateway/helios-api" }
  }

  assert {
    condition     = length([for alarm in aws_cloudwatch_metric_alarm.service : alarm if alarm.namespace == "AWS/RDS"]) == 0
    error_message = "An existing database is watched where it is."
  }

  assert {
    condition     = !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "AWS/RDS")
    error_message = "The dashboard must not show a database that is not there."
  }
}

run "a_log_is_encrypted_admits_only_its_clients_and_has_a_replica_in_each_zone" {
  command = plan

  module {
    source = "../modules/aws/log"
  }

  variables {
    name                      = "helios"
    vpc_id                    = "vpc-1"
    subnet_ids                = ["subnet-1", "subnet-2", "subnet-3"]
    client_security_group_ids = { functions = "sg-1", flink = "sg-2" }
    kafka_version             = "3.9.x.kraft"
    instance_type             = "kafka.m7g.large"
    volume_gigabytes          = 500
    password_version          = 1
    log_retention_days        = 30
  }

  assert {
    condition     = aws_msk_cluster.this.number_of_broker_nodes == 3 && strcontains(aws_msk_configuration.this.server_properties, "min.insync.replicas=2")
    error_message = "An acknowledged delivery must be on two of three brokers."
  }

  assert {
    condition     = aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].client_broker == "TLS" && !aws_msk_cluster.this.client_authentication[0].unauthenticated
    error_message = "No client may read or write the log without TLS and credentials."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.clients : rule.referenced_security_group_id]) == toset(["sg-1", "sg-2"])
    error_message = "Only the given security groups may connect."
  }
}

run "the_job_is_in_the_vpc_of_the_log_with_snapshots_and_a_core_for_each_task" {
  command = plan

  module {
    source = "../modules/aws/flink"
  }

  variables {
    name                    = "helios"
    vpc_id                  = "vpc-1"
    subnet_ids              = ["subnet-1", "subnet-2", "subnet-3"]
    code                    = { bucket_arn = "arn:aws:s3:::code", key = "flink.zip" }
    runtime                 = "FLINK-1_20" # the newest that version 5 of the provider knows; the root takes from FLINK-2_2 on
    brokers                 = "b-1:9096"
    secret                  = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:log", key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1" }
    log_prefix              = "helios"
    retention               = ""
    parallelism             = 4
    checkpoint_milliseconds = 1000
    starts                  = false
    log_retention_days      = 30
    permissions_boundary    = null
  }

  assert {
    condition     = toset(aws_kinesisanalyticsv2_application.this.application_configuration[0].vpc_configuration[0].subnet_ids) == toset(["subnet-1", "subnet-2", "subnet-3"])
    error_message = "The application must reach the brokers, which are in the VPC."
  }

  assert {
    condition     = aws_kinesisanalyticsv2_application.this.application_configuration[0].application_snapshot_configuration[0].snapshots_enabled
    error_message = "Without a snapshot, a new version would begin without state."
  }

  assert {
    condition = alltrue([
      for one in aws_kinesisanalyticsv2_application.this.application_configuration[0].flink_application_configuration[0].parallelism_configuration :
      one.parallelism == 4 && one.parallelism_per_kpu == 1 && !one.auto_scaling_enabled
    ])
    error_message = "Each task must have a processing unit of its own, and no change of the load may restart the job."
  }

  assert {
    condition     = !strcontains(jsonencode(aws_kinesisanalyticsv2_application.this.application_configuration[0].environment_properties), "password")
    error_message = "The password must not be in the configuration: everyone who may see the application could read it."
  }

  assert {
    condition = alltrue(flatten([
      for group in aws_kinesisanalyticsv2_application.this.application_configuration[0].environment_properties[0].property_group :
      [for value in values(group.property_map) : value != ""]
    ]))
    error_message = "The service refuses a property without a value."
  }
}

run "an_archive_is_private_encrypted_and_filled_once_a_day" {
  command = plan

  module {
    source = "../modules/aws/archive"
  }

  variables {
    name                 = "helios"
    cheaper_after_days   = 30
    noncurrent_days      = 7
    layer                = null
    permissions_boundary = null

    task = {
      cluster_arn         = "arn:aws:ecs:eu-central-1:123456789012:cluster/helios"
      task_definition_arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/helios-archive:1"
      role_arns           = ["arn:aws:iam::123456789012:role/helios-archive"]
      subnet_ids          = ["subnet-1"]
      security_group_ids  = ["sg-1"]
    }
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "Archived events must not be public."
  }

  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.this.rule[1].noncurrent_version_expiration).noncurrent_days == 7
    error_message = "An erased file must not stay as a version for longer than the variable says."
  }

  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.this.rule[0].filter).prefix == "events/"
    error_message = "Events alone move to the cheaper class."
  }

  assert {
    condition     = length(aws_lambda_layer_version.packages) == 0
    error_message = "Without functions there must be no layer."
  }

  assert {
    condition     = aws_scheduler_schedule.this[0].target[0].ecs_parameters[0].task_definition_arn == "arn:aws:ecs:eu-central-1:123456789012:task-definition/helios-archive:1"
    error_message = "The schedule must run the given task."
  }
}

run "an_archive_without_a_task_has_no_schedule" {
  command = plan

  module {
    source = "../modules/aws/archive"
  }

  variables {
    name                 = "helios"
    cheaper_after_days   = 30
    noncurrent_days      = 7
    permissions_boundary = null
    task                 = null

    layer = { package = "README.md", runtime = "python3.13", architecture = "arm64" } # any existing file
  }

  assert {
    condition     = one(aws_lambda_layer_version.packages[0].compatible_architectures) == "arm64" && one(aws_lambda_layer_version.packages[0].compatible_runtimes) == "python3.13"
    error_message = "The layer must be for the functions that use it."
  }

  assert {
    condition     = length(aws_scheduler_schedule.this) == 0 && length(aws_iam_role.schedule) == 0
    error_message = "Without a task there must be no schedule and no role for it."
  }
}

run "only_rules_of_recoveries_may_send_to_the_queue_beside_the_rule_of_the_bus" {
  command = plan

  module {
    source = "../modules/aws/events"
  }

  variables {
    name               = "helios"
    visibility_seconds = 60
    max_receives       = 5
    archive_days       = 14
    recoveries         = true
  }

  assert {
    condition = alltrue([
      for condition in data.aws_iam_policy_document.from_the_bus["helios-events"].statement[0].condition :
      length(condition.values) == 2 && endswith(condition.values[1], ":rule/helios/helios-recovery-*")
    ])
    error_message = "Replayed events must reach the queue through the rule of their recovery."
  }

  assert {
    condition     = alltrue([for condition in data.aws_iam_policy_document.from_the_bus["helios-events-dlq"].statement[0].condition : length(condition.values) == 1])
    error_message = "No recovery sends to the dead-letter queue."
  }
}
