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
    bootstrap_aws,
    bootstrap_azure,
    clouds,
    dashboard_upload,
    deploy,
    destroy,
    terraform,
    tfvars,
)
from scripts.deploy.clouds import CLOUDS
from scripts.deploy.plan import EXIT_NOT_READY, CommandOutput, Step, StepFailed, run

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


def test_a_dry_run_shows_the_roots_in_order_and_aws_again_at_the_end():
    done = ran("deploy", "--dry-run")
    assert done.returncode == 0, done.stderr
    applied = [title for title in titles(done.stdout) if ": apply" in title or "database" in title]
    assert applied == [
        "aws: apply module.network and module.database only",
        "migrate the database from this machine",
        "aws: apply",
        "gcp: apply",
        "azure: apply",
        "aws: apply again, to admit the other clouds",
    ]
    assert titles(done.stdout)[-1].startswith("publish one order through each cloud")
    assert done.stdout.endswith("Nothing was changed: this was a dry run.\n")


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


@pytest.mark.parametrize("name", ["shop", "octo-org/*", "octo-org/shop:ref", "../shop"])
def test_a_repository_that_would_widen_the_trust_is_refused(name):
    done = ran("bootstrap_aws", *BOOTSTRAPS["bootstrap_aws"], "--github", name, "--dry-run")
    assert done.returncode == 2
    assert "is not OWNER/NAME" in done.stderr


def test_the_deployer_on_aws_may_manage_the_functions_roles_but_not_its_own():
    (statement,) = bootstrap_aws._ROLE_POLICY["Statement"]
    arn = "arn:aws:iam::123456789012:role/"
    assert fnmatch(f"{arn}helios-ingest", statement["Resource"])
    assert not fnmatch(f"{arn}{bootstrap_aws._ROLE}", statement["Resource"])
    used = ["CreateRole", "DeleteRole", "GetRole", "PassRole", "TagRole", "PutRolePolicy", "DeleteRolePolicy"]
    used += ["GetRolePolicy", "ListRolePolicies", "ListAttachedRolePolicies", "ListInstanceProfilesForRole"]
    assert all(any(fnmatch(f"iam:{action}", allowed) for allowed in statement["Action"]) for action in used)


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
output "egress_address" { value = "198.51.100.7" }
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


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """Roots without resources, which a real Terraform applies in a temporary folder."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    monkeypatch.setattr(clouds, "TERRAFORM", tmp_path)
    for name in CLOUDS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.tf").write_text(ROOT)
        (tmp_path / name / "backend.hcl").write_text('path = "state"\n')
    return tmp_path


def of_roots(*, clients, names=tuple(CLOUDS)):
    """The Terraform steps of a deployment."""
    plan = deploy.steps([CLOUDS[name] for name in names], clients=clients, yes=True, migrate=True, smoke=False)
    return [step for step in plan if step.title.split(":")[0] in CLOUDS]


def test_outputs_of_aws_reach_the_other_roots_and_their_addresses_reach_aws(roots):
    """A real Terraform applies the roots in the plan's order; secrets are passed in the environment."""
    plan = of_roots(clients={"me": "203.0.113.1/32"})
    run(plan)
    assert terraform.outputs(CLOUDS["aws"])["database_clients"] == {
        "me": "203.0.113.1/32",
        "gcp": "198.51.100.7/32",
        "azure": "198.51.100.7/32",
    }
    passed = next(step for step in plan if step.title == "gcp: apply").environment()
    assert passed == {
        "TF_VAR_database_url": DATABASE_URL,
        "TF_VAR_notify_url": "https://api.example.org/api/v1/relay/notify",
        "TF_VAR_notify_secret": "s3cret",
    }
    assert not any("s3cret" in str(step.command) for step in plan)


def test_a_client_may_connect_until_it_is_removed(roots):
    run(of_roots(clients={"me": "203.0.113.1/32", "you": "203.0.113.2/32"}))
    run(of_roots(clients={"you": None}, names=["aws"]))
    assert terraform.outputs(CLOUDS["aws"])["database_clients"] == {
        "me": "203.0.113.1/32",
        "gcp": "198.51.100.7/32",
        "azure": "198.51.100.7/32",
    }
    assert deploy.database_unreachable({}) == []


def test_the_addresses_of_other_clouds_do_not_make_the_database_reachable(roots):
    run(of_roots(clients={}))
    assert deploy.database_unreachable({})
    assert deploy.database_unreachable({"me": None})
    assert deploy.database_unreachable({"me": "203.0.113.1/32"}) == []


def test_an_existing_database_has_its_own_firewall(roots, monkeypatch):
    settings = roots / "aws/terraform.tfvars"
    settings.write_text('# database_url = "none yet"\n')
    assert deploy.database_unreachable({})
    settings.write_text(f'region = "eu-central-1"\ndatabase_url="{DATABASE_URL}"\n')
    assert deploy.database_unreachable({}) == []
    settings.unlink()
    monkeypatch.setenv("TF_VAR_database_url", DATABASE_URL)
    assert deploy.database_unreachable({}) == []


def test_packages_are_built_for_the_architecture_of_the_aws_root(roots):
    settings = roots / "aws/terraform.tfvars"
    assert "x86_64" in str(deploy._packages([CLOUDS["aws"]])[0].command)
    settings.write_text('architecture = "arm64" # a fifth less\n')
    assert "arm64" in str(deploy._packages([CLOUDS["aws"]])[0].command)


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
