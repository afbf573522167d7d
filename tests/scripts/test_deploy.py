"""The plan is shown before anything changes, and each missing requirement is reported with its remedy."""

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch

import pytest

from helios.adapters.postgres.tokens import PostgresTokens
from helios.model.tokens import digest
from scripts.deploy import (
    aws_account,
    bootstrap_aws,
    bootstrap_azure,
    clouds,
    dashboard_upload,
    declarations,
    deploy,
    destroy,
    preview,
    terraform,
    tfvars,
)
from scripts.deploy.clouds import CLOUDS
from scripts.deploy.plan import EXIT_NOT_READY, CommandOutput, Step, StepFailed, run
from scripts.deploy.release import RELEASING

BOOTSTRAPS = {
    "bootstrap_aws": ("--region", "us-east-1", "--bucket", "helios-state"),
    "bootstrap_gcp": ("--region", "europe-west3", "--bucket", "helios-state"),
    "bootstrap_azure": (
        *("--location", "westeurope", "--account", "heliosstate"),
        *("--suffix", "abc", "--principal", "00000000-0000-0000-0000-000000000000"),
    ),
}

DATABASE_URL = "postgresql://helios:pw@db.example.org/helios?sslmode=require"  # pragma: allowlist secret


def ran(script, *arguments, path=""):
    """A script on a machine without credentials, with only the programs on this path."""
    module = "scripts.deploy" if script == "deploy" else f"scripts.deploy.{script}"
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def titles(output):
    """The steps of a plan, without their numbers."""
    return re.findall(r"^ ?\d+\. (.*)$", output, flags=re.MULTILINE)


def test_a_dry_run_shows_the_addresses_first_and_then_each_root_once():
    done = ran("deploy", "--dry-run")
    assert done.returncode == 0, done.stderr
    applied = [title for title in titles(done.stdout) if ": apply" in title or "database" in title]
    assert applied == [
        "gcp: apply module.network only",
        "azure: apply module.network only",
        "aws: apply module.network and module.database only",
        "create the roles of the database, and set their passwords",
        "migrate the database from this machine",
        "aws: apply",
        "gcp: apply",
        "azure: apply",
    ]
    assert titles(done.stdout)[-1].startswith("publish one order through each cloud")
    assert done.stdout.endswith("Nothing was changed: this was a dry run.\n")


def test_after_the_release_the_state_records_what_the_cloud_answers():
    """Otherwise the next comparison with the state would show what the release has moved."""
    shown = titles(ran("deploy", "--dry-run").stdout)
    for cloud in CLOUDS:
        applied = shown.index(f"{cloud}: apply")
        recorded = shown.index(f"{cloud}: record what the cloud answers")
        assert recorded == applied + 2 if cloud in RELEASING else applied + 1


def test_one_cloud_alone_leaves_the_others_alone():
    done = ran("deploy", "--dry-run", "--cloud", "gcp")
    assert [title for title in titles(done.stdout) if ": apply" in title] == ["gcp: apply"]
    assert "azure" not in done.stdout


def test_aws_alone_needs_no_other_state():
    done = ran("deploy", "--dry-run", "--cloud", "aws", "--client", "me=203.0.113.1/32")
    assert [title for title in titles(done.stdout) if "initialise" in title] == ["aws: initialise Terraform"]


def test_without_a_client_the_deployment_is_refused_before_the_first_step():
    done = ran("deploy", "--yes")
    assert done.returncode == EXIT_NOT_READY
    assert "deploy: Aurora accepts no connection from this machine: add --client me=YOUR.IP.AD.DRESS/32" in done.stderr
    assert "[1/" not in done.stdout


def test_a_deployment_without_migration_needs_no_client():
    done = ran("deploy", "--dry-run", "--no-migrate", "--no-smoke", "--client", "gcp=")
    assert "Aurora" not in done.stderr
    assert not [title for title in titles(done.stdout) if "database" in title]


def test_a_client_needs_a_deployment_of_aws():
    done = ran("deploy", "--cloud", "gcp", "--client", "me=203.0.113.1/32")
    assert done.returncode == EXIT_NOT_READY
    assert "--client changes the firewall in AWS: deploy AWS too" in done.stderr


@pytest.mark.parametrize(
    ("option", "commands"), [((), ["", ""]), (("--no-canary",), [" --now"] * 2), (("--no-release",), [])]
)
def test_each_cloud_that_divides_calls_is_released_after_its_apply(option, commands):
    plan = ran("deploy", "--dry-run", *option).stdout
    released = re.findall(r"scripts.deploy.release --cloud (\w+)(.*)$", plan, flags=re.MULTILINE)
    assert released == list(zip(("aws", "gcp"), commands, strict=False))


def test_a_removal_has_the_opposite_order():
    done = ran("destroy", "--dry-run")
    removed = [title for title in titles(done.stdout) if title.endswith("destroy")]
    assert removed == ["azure: destroy", "gcp: destroy", "aws: destroy"]


@pytest.mark.parametrize("script", ["deploy", "destroy"])
def test_missing_requirements_are_reported_with_their_remedies_before_the_first_step(script):
    done = ran(script, "--yes")
    assert done.returncode == EXIT_NOT_READY
    assert "aws: the command line `aws` is not installed" in done.stderr
    assert "gcp: GOOGLE_CLOUD_PROJECT is not set. Set it to the project's id; `gcloud projects list`" in done.stderr
    assert "azure: ARM_SUBSCRIPTION_ID is not set. Set it to the subscription's id; `az account list" in done.stderr
    assert (
        "infra/terraform/aws/backend.hcl is missing: run `python -m scripts.deploy.bootstrap_aws` to write it"
        in done.stderr
    )
    assert "[1/" not in done.stdout


def test_missing_credentials_are_reported_with_the_variable_and_the_command(tmp_path):
    """The stand-in for the command line fails as Amazon's does."""
    tool = tmp_path / "aws"
    tool.write_text("#!/bin/sh\necho 'Unable to locate credentials' >&2\nexit 253\n")
    tool.chmod(0o755)
    done = ran("bootstrap_aws", *BOOTSTRAPS["bootstrap_aws"], "--yes", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == EXIT_NOT_READY
    assert "aws: no credentials (Unable to locate credentials): set AWS_PROFILE, or AWS_ACCESS_KEY_ID" in done.stderr
    assert "`aws sso login` or `aws configure`" in done.stderr


@pytest.mark.parametrize(
    ("script", "tool", "command"),
    [
        ("bootstrap_aws", "aws", "sts get-caller-identity --output json"),
        ("bootstrap_gcp", "gcloud", "auth print-access-token --quiet"),
        ("bootstrap_azure", "az", "account get-access-token --output none"),
    ],
)
def test_a_bootstrap_requests_a_token_before_the_first_step(tmp_path, script, tool, command):
    """A cached account is not enough: the sign-in may have expired."""
    program = tmp_path / tool
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/commands\necho "token expired" >&2\nexit 1\n')
    program.chmod(0o755)
    done = ran(script, *BOOTSTRAPS[script], "--yes", path=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == EXIT_NOT_READY
    assert (tmp_path / "commands").read_text() == f"{command}\n"


@pytest.mark.parametrize(("script", "arguments"), BOOTSTRAPS.items())
def test_a_dry_run_of_a_bootstrap_only_shows_its_commands(script, arguments):
    done = ran(script, *arguments, "--dry-run")
    cloud = CLOUDS[script.removeprefix("bootstrap_")]
    assert done.returncode == 0, done.stderr
    assert f"\n      {cloud.tool} " in done.stdout
    assert not cloud.backend.exists()


@pytest.mark.parametrize(("script", "arguments"), BOOTSTRAPS.items())
def test_a_bootstrap_creates_the_deployer_and_trusts_one_branch(script, arguments):
    without_github, with_github = (
        ran(script, *arguments, *more, "--dry-run") for more in ((), ("--github", "octo-org/shop"))
    )
    assert any("deploy-helios for deployments" in title for title in titles(without_github.stdout))
    assert "repo:octo-org/shop:ref:refs/heads/main" in with_github.stdout
    assert "github" not in without_github.stdout


@pytest.mark.parametrize(("script", "arguments"), BOOTSTRAPS.items())
def test_an_environment_trusts_the_environment_of_that_name_alone(script, arguments):
    shown = ran(script, *arguments, "--github", "octo-org/shop", "--env", "prod", "--dry-run").stdout
    assert "repo:octo-org/shop:environment:prod" in shown
    assert "refs/heads/main" not in shown


@pytest.mark.parametrize("name", ["shop", "octo-org/*", "octo-org/shop:ref", "../shop"])
def test_a_repository_that_would_widen_the_trust_is_refused(name):
    done = ran("bootstrap_aws", *BOOTSTRAPS["bootstrap_aws"], "--github", name, "--dry-run")
    assert done.returncode == 2
    assert "is not OWNER/NAME" in done.stderr


def test_the_deployer_on_aws_may_manage_the_functions_roles_but_not_its_own():
    allowed, *_ = bootstrap_aws.role_policy("helios-stage")["Statement"]
    arn = "arn:aws:iam::123456789012:role/"
    assert fnmatch(f"{arn}helios-stage-ingest", allowed["Resource"])
    assert not fnmatch(f"{arn}{bootstrap_aws.deployer('helios-stage')}", allowed["Resource"])
    assert not fnmatch(f"{arn}helios-prod-ingest", allowed["Resource"])
    used = ["CreateRole", "DeleteRole", "GetRole", "PassRole", "TagRole", "PutRolePolicy", "DeleteRolePolicy"]
    used += ["GetRolePolicy", "ListRolePolicies", "ListAttachedRolePolicies", "ListInstanceProfilesForRole"]
    used += ["UpdateRoleDescription", "UpdateAssumeRolePolicy", "PutRolePermissionsBoundary"]
    assert all(fnmatch(f"iam:{action}", allowed["Action"]) for action in used)
    assert not any(fnmatch(f"iam:{action}", allowed["Action"]) for action in ("CreateUser", "CreatePolicyVersion"))


def test_the_deployer_on_aws_can_create_and_change_roles_only_within_the_boundary():
    """The key is missing in the request for a role without a boundary, and StringNotLike then matches."""
    _, unbounded, removal = bootstrap_aws.role_policy("helios")["Statement"]
    assert unbounded["Effect"] == removal["Effect"] == "Deny"
    assert {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"} <= set(unbounded["Action"])
    assert unbounded["Condition"] == {
        "StringNotLike": {"iam:PermissionsBoundary": "arn:aws:iam::*:policy/boundary-helios"}
    }
    assert removal["Action"] == "iam:DeleteRolePermissionsBoundary"


def test_the_boundary_allows_what_some_function_needs_and_nothing_more():
    """Every action in the root's and the module's policies, on resources of the deployment's name."""
    modules = [clouds.TERRAFORM / "modules/aws" / name / "main.tf" for name in ("archive", "function")]
    code = "".join(file.read_text() for file in [CLOUDS["aws"].root / "main.tf", *modules])
    needed = set(re.findall(r'"((?:sqs|secretsmanager|events|execute-api|logs|ec2|s3|ecs|iam):[A-Z]\w+)"', code))
    policy = bootstrap_aws.boundary_policy("helios-stage")
    assert {action for statement in policy["Statement"] for action in statement["Action"]} == needed
    unnamed = {statement["Sid"] for statement in policy["Statement"] if "helios-stage" not in statement["Resource"]}
    assert unnamed == {"ArchiveTask", "Clients", "Network", "Replays", "RuleNames"}


@pytest.mark.parametrize("name", ["helios-", "he--lios", "Helios", "*", "h", "a-name-longer-than-20-x"])
def test_a_prefix_that_terraform_would_refuse_is_refused(name):
    done = ran("bootstrap_aws", *BOOTSTRAPS["bootstrap_aws"], "--name", name, "--dry-run")
    assert done.returncode == 2
    assert "single hyphens, such as helios-stage" in done.stderr


@pytest.mark.parametrize(("script", "arguments"), BOOTSTRAPS.items())
def test_an_environment_has_its_own_state_settings_and_names(script, arguments):
    done = ran(script, *arguments, "--env", "stage", "--dry-run")
    source = script.removeprefix("bootstrap_")
    assert f"write infra/terraform/{source}/backend-stage.hcl unless it exists" in done.stdout
    assert f"helios/stage/{source}" in done.stdout
    assert f"write infra/terraform/{source}/stage.tfvars unless it exists" in done.stdout
    assert re.search(r'name = "helios-?stage"', done.stdout)


def test_every_step_of_an_environment_names_it():
    done = ran("deploy", "--dry-run", "--env", "stage")
    commands = re.findall(r"^      (?:cd \S+ && )?(.*)$", done.stdout, flags=re.MULTILINE)
    terraform_commands = [command for command in commands if command.startswith("terraform")]
    assert len(terraform_commands) == 4 * len(CLOUDS)  # init, two applies, and what records the state
    assert all("stage.tfvars" in command or "backend-stage.hcl" in command for command in terraform_commands)
    assert [command for command in commands if "scripts.deploy." in command and "--env stage" not in command] == []
    removal = ran("destroy", "--dry-run", "--env", "stage").stdout
    assert removal.count("-var-file=stage.tfvars") == len(CLOUDS)


def test_the_environment_keeps_terraform_s_data_apart():
    assert CLOUDS["aws"]._replace(environment="stage").data_folder == {"TF_DATA_DIR": ".terraform-stage"}
    assert CLOUDS["aws"].data_folder == {}


ACCOUNT = """#!/bin/sh
case "$*" in
  *get-account-settings*) echo LIMIT ;;
  *describe-db-engine-versions*) echo VERSIONS ;;
  *) echo "{}" ;;
esac
"""


@pytest.fixture
def account(tmp_path, monkeypatch):
    """Writes a stand-in for Amazon's command line that returns these limits of the account."""
    monkeypatch.setattr(clouds, "TERRAFORM", tmp_path)
    (tmp_path / "aws").mkdir()

    def limits(concurrency, versions='["17.7"]'):
        program = tmp_path / "bin/aws"
        program.parent.mkdir()
        program.write_text(ACCOUNT.replace("LIMIT", str(concurrency)).replace("VERSIONS", f"'{versions}'"))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return CLOUDS["aws"]

    return limits


def test_a_new_account_is_large_enough_for_the_defaults(account):
    aws = account(10)
    assert aws_account.problems(aws) == []
    assert aws_account.reservations(aws) == {}


def test_too_much_concurrency_for_the_account_is_reported(account):
    aws = account(10)
    aws.settings.write_text('region = "eu-central-1"\ningest_concurrency = 10\n')
    (reason,) = aws_account.problems(aws)
    assert "ingest_concurrency is 10, and this account may run 10 functions at once" in reason
    assert "Set ingest_concurrency to 5 in terraform.tfvars" in reason


def test_a_region_without_the_version_of_aurora_is_reported(account):
    (reason,) = aws_account.problems(account(1000, versions="[]"))
    assert reason.startswith("aws: this region has no Aurora PostgreSQL 17: set database_major_version")


def test_the_api_gets_a_reservation_where_the_account_has_enough(account):
    aws = account(1000)
    assert aws_account.reservations(aws) == {"reserved_concurrency": {"api": 50}}
    aws.settings.write_text("reserved_concurrency = { api = 20 }\n")
    assert aws_account.reservations(aws) == {}


def test_an_account_that_does_not_answer_stops_nothing(account, capsys):
    aws = account("AccessDenied >&2; exit 254")
    assert aws_account.problems(aws) == []
    assert aws_account.reservations(aws) == {}
    assert "get-account-settings" in capsys.readouterr().err


def test_the_defaults_are_those_of_the_root():
    text = (CLOUDS["aws"].root / "variables.tf").read_text()
    for name, value in (
        ("ingest_concurrency", aws_account.DEFAULT_INGEST_CONCURRENCY),
        ("database_major_version", aws_account.DEFAULT_MAJOR_VERSION),
    ):
        assert re.search(rf'variable "{name}" \{{\n.*\n.*\n  default += {value}\n', text), name


def test_the_id_of_the_new_identity_is_read_when_it_is_needed(tmp_path, monkeypatch):
    """The whole bootstrap of Azure, with a stand-in for the command line that only returns the identity's id."""
    id_ = "00000000-0000-0000-0000-000000000009"
    program = tmp_path / "az"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/commands\n[ "$1 $2" != "identity show" ] || echo {id_}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(tfvars, "ROOT", tmp_path)
    monkeypatch.setattr(clouds, "TERRAFORM", tmp_path)
    (tmp_path / "azure").mkdir()
    run(bootstrap_azure.steps(subscription="s", location="westeurope", account="a", suffix="abc", principal="p"))
    assignments = re.findall(
        r"^role assignment create --assignee-object-id (\S+) .* --role (.*) --output",
        (tmp_path / "commands").read_text(),
        re.MULTILINE,
    )
    assert assignments == [
        (id_, "Contributor"),
        (id_, "Role Based Access Control Administrator"),
        (id_, "Storage Blob Data Contributor"),
    ]
    assert f'deployers = {{"me": "p", "deploy-helios": "{id_}"}}' in CLOUDS["azure"].settings.read_text()


def test_a_command_without_output_ends_the_plan():
    with pytest.raises(StepFailed, match="false printed nothing"):
        run([Step("needs it", ("echo", CommandOutput("", ("false",))))])


@pytest.mark.parametrize("range_", ["me", "me=198.51.100.7/33", "me=everyone"])
def test_an_invalid_range_is_refused_with_an_example(range_):
    done = ran("deploy", "--dry-run", "--client", range_)
    assert done.returncode == 2
    assert "is not NAME=RANGE, such as me=198.51.100.7/32" in done.stderr


def test_a_step_that_is_already_done_is_skipped_and_a_failure_ends_the_plan(capfd):
    marks = []
    plan = [
        Step("there already", lambda: marks.append("no"), unless=("true",)),
        Step("needed", lambda: marks.append("yes"), unless=("false",)),
        Step("fails", ("false",)),
        Step("never begun", lambda: marks.append("no")),
    ]
    with pytest.raises(StepFailed, match="step 3, fails: false exited with 1"):
        run(plan)
    assert marks == ["yes"]
    assert "already done" in capfd.readouterr().out


def test_without_a_terminal_the_plan_needs_yes():
    plan = "carry_out([Step('x', ('false',))], missing=(), dry_run=False, yes=False, program='p')"
    code = f"from scripts.deploy.plan import Step, carry_out; exit({plan})"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == EXIT_NOT_READY
    assert "Use --yes to run without asking" in done.stderr
    assert "[1/1]" not in done.stdout


ROOT = """
variable "database_clients" {
  type    = map(string)
  default = {}
}
output "api_url" { value = "https://api.example.org" }
output "notify_secret" {
  value     = "s3cret"
  sensitive = true
}
output "database_url" {
  value     = "postgresql://helios:pw@db.example.org/helios?sslmode=require"  # pragma: allowlist secret
  sensitive = true
}
output "database_urls" {
  value = {
    for role in ["admin", "migrate", "api", "aws", "gcp", "azure"] :
    role => "postgresql://helios_${role}:pw@db.example.org/helios?sslmode=require"  # pragma: allowlist secret
  }
  sensitive = true
}
module "network" { source = "./network" }
output "egress_address" { value = module.network.address }
output "database_clients" { value = var.database_clients }
variable "deletion_protection" {
  type    = bool
  default = true
}
output "deletion_protection" { value = var.deletion_protection }
terraform {
  backend "local" {}
}
"""


NETWORK = """
resource "terraform_data" "address" { input = "198.51.100.7" }
output "address" { value = terraform_data.address.output }
"""


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """Roots without resources, which a real Terraform applies in a temporary folder."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    monkeypatch.setattr(clouds, "TERRAFORM", tmp_path)
    for name in CLOUDS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.tf").write_text(ROOT)
        (tmp_path / name / "network").mkdir()
        (tmp_path / name / "network/main.tf").write_text(NETWORK)
        (tmp_path / name / "backend.hcl").write_text('path = "state"\n')
    return tmp_path


def of_roots(*, clients, names=tuple(CLOUDS)):
    """The Terraform steps of a deployment."""
    plan = deploy.steps([CLOUDS[name] for name in names], clients=clients, yes=True, migrate=True, smoke=False)
    return [step for step in plan if step.title.split(":")[0] in CLOUDS]


def test_outputs_of_aws_reach_the_other_roots_and_their_addresses_reach_aws(roots):
    """A real Terraform applies the roots in the plan's order; secrets are passed in the environment.

    AWS admits the addresses of the other clouds before their functions are made.
    """
    plan = of_roots(clients={"me": "203.0.113.1/32"})
    applied = [step.title for step in plan].index("aws: apply")
    run(plan[: applied + 1])
    assert terraform.outputs(CLOUDS["aws"])["database_clients"] == {
        "me": "203.0.113.1/32",
        "gcp": "198.51.100.7/32",
        "azure": "198.51.100.7/32",
    }
    run(plan[applied + 1 :])
    passed = next(step for step in plan if step.title == "gcp: apply").environment()
    assert passed == {
        "TF_VAR_database_url": DATABASE_URL.replace("helios:", "helios_gcp:"),
        "TF_VAR_notify_url": "https://api.example.org/api/v1/relay/notify",
        "TF_VAR_notify_secret": "s3cret",
    }
    assert not any("s3cret" in str(step.command) for step in plan)


def test_a_resource_differs_from_the_state_unless_it_only_has_what_was_not_set():
    def of(address, before, after):
        return {"address": address, "change": {"before": before, "after": after}}

    resources = [
        of("a.empty", {"tags": None, "name": "a"}, {"tags": {}, "name": "a"}),
        of("a.renamed", {"tags": {}, "name": "a"}, {"tags": {}, "name": "b"}),
        of("a.switched", {"enabled": True}, {"enabled": False}),
        of("a.deleted", {"name": "a"}, None),
    ]
    found = terraform.changed_resources({"resource_drift": resources})
    assert found == ["a.renamed", "a.switched", "a.deleted"]
    assert terraform.changed_resources({}) == []


def test_a_preview_plans_each_root_with_the_outputs_of_the_others(roots, monkeypatch, capfd):
    run(of_roots(clients={"me": "203.0.113.1/32"}))
    for module in (preview, declarations):
        monkeypatch.setattr(module, "not_ready" if module is preview else "problems", lambda _: [])
    monkeypatch.setattr(deploy, "packages", lambda _: [])
    monkeypatch.setattr(aws_account, "reservations", lambda _: {})

    assert preview.main([]) == 0
    assert "A deployment would change: no cloud" in capfd.readouterr().out
    assert preview.main(["--drift"]) == 0

    (roots / "gcp/more.tf").write_text('output "more" { value = "text" }\n')
    assert preview.main([]) == 0
    assert "A deployment would change: gcp" in capfd.readouterr().out
    (roots / "gcp/more.tf").write_text('output "more" { value = missing }\n')
    assert preview.main([]) == 1
    assert "preview: gcp: terraform plan exited with 1" in capfd.readouterr().err


def test_a_client_may_connect_until_it_is_removed(roots):
    run(of_roots(clients={"me": "203.0.113.1/32", "you": "203.0.113.2/32"}))
    run(of_roots(clients={"you": None}, names=["aws"]))
    assert terraform.outputs(CLOUDS["aws"])["database_clients"] == {
        "me": "203.0.113.1/32",
        "gcp": "198.51.100.7/32",
        "azure": "198.51.100.7/32",
    }
    assert deploy.database_unreachable(CLOUDS["aws"], {}) == []


def test_the_addresses_of_other_clouds_do_not_make_the_database_reachable(roots):
    run(of_roots(clients={}))
    assert deploy.database_unreachable(CLOUDS["aws"], {})
    assert deploy.database_unreachable(CLOUDS["aws"], {"me": None})
    assert deploy.database_unreachable(CLOUDS["aws"], {"me": "203.0.113.1/32"}) == []


def test_an_existing_database_has_its_own_firewall(roots, monkeypatch):
    settings = roots / "aws/terraform.tfvars"
    settings.write_text('# database_url = "none yet"\n')
    assert deploy.database_unreachable(CLOUDS["aws"], {})
    settings.write_text(f'region = "eu-central-1"\ndatabase_url="{DATABASE_URL}"\n')
    assert deploy.database_unreachable(CLOUDS["aws"], {}) == []
    settings.unlink()
    monkeypatch.setenv("TF_VAR_database_url", DATABASE_URL)
    assert deploy.database_unreachable(CLOUDS["aws"], {}) == []


def test_packages_are_built_for_the_architecture_of_the_aws_root(roots):
    settings = roots / "aws/terraform.tfvars"
    assert "x86_64" in str(deploy.packages([CLOUDS["aws"]])[0].command)
    settings.write_text('architecture = "arm64" # a fifth less\n')
    assert "arm64" in str(deploy.packages([CLOUDS["aws"]])[0].command)


def declare(roots, kind, files):
    """Name a file of flows or of sources in each root's settings."""
    for cloud, file in files.items():
        (roots / cloud / "terraform.tfvars").write_text(f'{kind}_file = "{file}"\n')


def test_packages_contain_the_declarations_that_the_roots_name(roots):
    (roots / "flows.toml").write_text("# flows")
    declare(roots, "flows", dict.fromkeys(CLOUDS, "../flows.toml"))
    assert declarations.problems(None) == []
    for cloud, step in zip(CLOUDS.values(), deploy.packages(list(CLOUDS.values())), strict=True):
        assert f"--flows={cloud.root}/../flows.toml" in str(step.command)


def test_declarations_that_are_missing_or_differ_between_the_clouds_are_reported(roots):
    (roots / "flows.toml").write_text("# flows")
    (roots / "other.toml").write_text("# other flows")
    declare(roots, "flows", {"aws": "../flows.toml", "gcp": "../other.toml", "azure": "../flows.toml"})
    (reason,) = declarations.problems(None)
    assert reason.startswith("flows_file must be the same for every cloud (aws: ")
    declare(roots, "sources", {"gcp": "../sources.toml"})
    reasons = declarations.problems(None)
    assert f"gcp: sources_file names {roots}/gcp/../sources.toml, which is no file" in reasons


def test_the_packages_of_aws_alone_contain_the_receivers_of_notifications(roots):
    declare(roots, "notifications", {"aws": "../notifications.toml"})
    (reason,) = declarations.problems(None)
    assert reason == f"aws: notifications_file names {roots}/aws/../notifications.toml, which is no file"

    (roots / "notifications.toml").write_text("# receivers")
    assert declarations.problems(None) == []
    steps = [str(step.command) for step in deploy.packages(list(CLOUDS.values()))]
    assert [f"--notifications={roots}/aws/../notifications.toml" in step for step in steps] == [True, False, False]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_packages_have_what_spans_require_only_where_the_root_names_a_collector(roots, cloud):
    settings = roots / cloud / "terraform.tfvars"
    for text, is_added in (("", False), ("otlp_url = null\n", False), ('otlp_url = "https://collector:4318"\n', True)):
        settings.write_text(text)
        assert ("--traces" in str(deploy.packages([CLOUDS[cloud]])[0].command)) == is_added


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("aws/terraform.tfvars", "database_clients = {}\n", "database_clients"),
        ("gcp/mine.auto.tfvars", 'notify_url = "https://api.example.org"\n', "notify_url"),
        ("azure/terraform.tfvars.json", '{"database_url": "postgresql://"}\n', "database_url"),
    ],
)
def test_a_file_that_overrides_a_passed_variable_is_reported(roots, file, text, name):
    assert deploy.overridden(list(CLOUDS.values())) == []
    (roots / file).write_text(text)
    (reason,) = deploy.overridden(list(CLOUDS.values()))
    cloud, _, file_name = file.partition("/")
    assert reason.startswith(f"{cloud}: {file_name} sets {name} and would override")


def test_nothing_is_removed_while_one_cloud_is_protected(roots, monkeypatch):
    monkeypatch.setenv("TF_VAR_deletion_protection", "false")
    run(of_roots(clients={}))
    monkeypatch.delenv("TF_VAR_deletion_protection")
    run(of_roots(clients={}, names=["gcp"]))
    removal = destroy.steps(list(CLOUDS.values()), yes=True)
    with pytest.raises(StepFailed, match=r"nothing was removed: deletion_protection is on in gcp\. Set"):
        run(removal)
    assert all(terraform.outputs(cloud) for cloud in CLOUDS.values())

    monkeypatch.setenv("TF_VAR_deletion_protection", "false")
    run(of_roots(clients={}, names=["gcp"]))
    run(removal)
    assert not any(terraform.outputs(cloud) for cloud in CLOUDS.values())


def test_a_root_that_was_never_applied_has_no_outputs(roots):
    run([terraform.init(CLOUDS["aws"])])
    assert terraform.outputs(CLOUDS["aws"]) == {}
    with pytest.raises(StepFailed, match="has no output api_url; apply it first"):
        terraform.required_output(CLOUDS["aws"], "api_url")


def test_the_dashboard_gets_the_addresses_of_the_api():
    config = dashboard_upload.config("https://api.example.org", "wss://live.example.org/live")
    assert config == (
        'window.heliosConfig = {"apiUrl": "https://api.example.org", "wsUrl": "wss://live.example.org/live"};\n'
    )


def test_changed_settings_are_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(tfvars, "ROOT", tmp_path)
    file = tmp_path / "terraform.tfvars"
    step = tfvars.write_once(file, {"region": "eu-central-1"})
    run([step])
    assert file.read_text() == 'region = "eu-central-1"\n'
    file.write_text("mine")
    run([step])
    assert file.read_text() == "mine"


def test_the_smoke_test_reads_with_a_token_that_soon_expires(monkeypatch, pool, database_url):
    monkeypatch.setattr(deploy, "required_output", lambda *_: database_url)
    monkeypatch.delenv("HELIOS_TOKEN", raising=False)
    plan = deploy.steps(list(CLOUDS.values()), clients={}, yes=True, migrate=True, smoke=True)

    secret = plan[-1].environment()["HELIOS_TOKEN"]
    token = PostgresTokens(pool).use(digest(secret), datetime.now(UTC))
    assert token
    assert token.expires_at
    assert token.scopes == ("read",)
    assert token.expires_at - token.created_at == timedelta(hours=1)

    monkeypatch.setenv("HELIOS_TOKEN", "helios_mine")
    assert plan[-1].environment() == {"HELIOS_TOKEN": "helios_mine"}


def test_smoke_reports_that_the_api_does_not_answer():
    done = ran("smoke", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "smoke: http://127.0.0.1:9 does not answer: " in done.stderr
