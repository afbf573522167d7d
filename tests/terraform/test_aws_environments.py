"""Two environments stand beside each other in one emulated account, as the scripts of the deployment create them."""

import contextlib
import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest

from helios.processes.ports import free_port
from local.aws import deployer, resources
from local.aws.ministack import Ministack
from local.stack.config import AWS_REGION
from scripts.build import package
from scripts.deploy import clouds
from scripts.deploy.clouds import CLOUDS
from scripts.deploy.plan import run
from scripts.deploy.terraform import apply, destroy, init, outputs
from tests.support import terraform

pytestmark = pytest.mark.slow  # the AWS provider waits 25 s for each queue that it creates or deletes

BUCKET = "helios-state"
STAGE, PROD = (CLOUDS["aws"]._replace(environment=name) for name in ("stage", "prod"))
UNCHANGED = 0
"""The exit code of ``plan -detailed-exitcode`` when there is nothing to change."""


class Account(NamedTuple):
    """An emulated account with both environments; ``terraform`` is the path of the program."""

    endpoint: str
    terraform: str

    def plan(self, cloud):
        """The exit code of a second plan, and its output."""
        done = subprocess.run(
            [self.terraform, "plan", "-detailed-exitcode", "-input=false", "-no-color", *cloud.variable_files],
            cwd=cloud.root,
            env={**os.environ, **cloud.data_folder},
            check=False,
            capture_output=True,
            text=True,
            timeout=terraform.SECONDS,
        )
        return done.returncode, done.stdout + done.stderr

    def names(self):
        """The names of the functions, queues, buses, APIs, roles and secrets."""
        services = ("lambda", "sqs", "events", "apigatewayv2", "iam", "secretsmanager")
        with contextlib.ExitStack() as stack:
            functions, sqs, events, gateway, iam, secrets = (
                stack.enter_context(contextlib.closing(resources.client(service, self.endpoint)))
                for service in services
            )
            return {
                *(function["FunctionName"] for function in functions.list_functions()["Functions"]),
                *(url.rpartition("/")[2] for url in sqs.list_queues().get("QueueUrls", [])),
                *(bus["Name"] for bus in events.list_event_buses()["EventBuses"]),
                *(api["Name"] for api in gateway.get_apis()["Items"]),
                *(role["RoleName"] for role in iam.list_roles()["Roles"]),
                *(secret["Name"] for secret in secrets.list_secrets()["SecretList"]),
            } - {"default"}


def write_settings(cloud, endpoint, database_url, redis_url):
    """Write what a bootstrap of this environment writes, with the emulator in AWS' place."""
    backend = {
        "bucket": BUCKET,
        "region": AWS_REGION,
        "key": f"{cloud.state}.tfstate",
        "use_path_style": True,
        "skip_credentials_validation": True,
        "skip_requesting_account_id": True,
        "skip_metadata_api_check": True,
    }
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in backend.items()]
    cloud.backend.write_text("".join([*lines, f'endpoints = {{ s3 = "{endpoint}" }}\n']))
    settings = {
        "name": cloud.deployment,
        "region": AWS_REGION,
        "emulator_endpoint": endpoint,
        "packages": str(package.NATIVE),
        "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",  # the emulator has no other
        "database_url": database_url,
        "redis_url": redis_url,
        "ingest_concurrency": deployer.MAX_CONCURRENCY,
        "permissions_boundary": f"arn:aws:iam::000000000000:policy/boundary-{cloud.deployment}",
    }
    cloud.settings.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))


@pytest.fixture(scope="module")
def account(terraform_program, tmp_path_factory, postgres_server, valkey_server):
    """The account, into which both environments were deployed."""
    package.build_all(CLOUDS["aws"].packages, native=True)
    scratch = tmp_path_factory.mktemp("environments")
    code = terraform.Root("aws", scratch / "code").folder.parent
    with (
        Ministack(scratch, free_port(), log=scratch / "aws.log") as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        with contextlib.closing(resources.client("s3", server.url)) as s3:
            s3.create_bucket(Bucket=BUCKET)
        patch.setattr(clouds, "TERRAFORM", code)
        variables = {"TF_CLI_CONFIG_FILE": str(code / "terraform.rc"), "CHECKPOINT_DISABLE": "1"}
        for name, value in {**variables, **resources.sdk_environment(server.url)}.items():
            patch.setenv(name, value)
        for cloud in (STAGE, PROD):
            write_settings(cloud, server.url, postgres_server.url, valkey_server.url)
            run([init(cloud), apply(cloud, yes=True)])
        yield Account(server.url, terraform_program)


def test_each_environment_has_its_own_resources_and_addresses(account):
    names = account.names()
    assert {name for name in names if not name.startswith(("helios-stage", "helios-prod"))} == set()
    of_stage = {name.removeprefix("helios-stage") for name in names if name.startswith("helios-stage")}
    of_prod = {name.removeprefix("helios-prod") for name in names if name.startswith("helios-prod")}
    assert of_stage == of_prod
    assert len(of_stage) >= 6
    stage, prod = outputs(STAGE), outputs(PROD)
    different = ("api_url", "websocket_url", "bus", "queue_url", "secret", "notify_secret", "name")
    assert [name for name in different if stage[name] == prod[name]] == []


def test_the_roles_have_the_boundary_of_their_environment(account):
    with contextlib.closing(resources.client("iam", account.endpoint)) as iam:
        roles = [iam.get_role(RoleName=role["RoleName"])["Role"] for role in iam.list_roles()["Roles"]]
    boundaries = {
        role["RoleName"].rpartition("-")[0]: role["PermissionsBoundary"]["PermissionsBoundaryArn"] for role in roles
    }
    assert boundaries == {
        name: f"arn:aws:iam::000000000000:policy/boundary-{name}" for name in ("helios-stage", "helios-prod")
    }


@pytest.mark.parametrize("cloud", [STAGE, PROD], ids=["stage", "prod"])
def test_a_second_plan_of_an_environment_is_empty(account, cloud):
    code, text = account.plan(cloud)
    assert code == UNCHANGED, text


def test_one_environment_is_removed_without_the_other(account):
    """This test must be the last of the file, because it removes what the others use."""
    run([destroy(STAGE, {}, yes=True)])
    assert not [name for name in account.names() if name.startswith("helios-stage")]
    code, text = account.plan(PROD)
    assert code == UNCHANGED, text
    run([destroy(PROD, {}, yes=True)])
    assert account.names() == set()
