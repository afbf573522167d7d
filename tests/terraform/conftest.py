"""The AWS root, without a state and applied to an emulator."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from helios.adapters.postgres.migrate import migrate
from helios.processes.ports import free_port
from local.aws import deployer, resources
from local.aws.ministack import Ministack
from local.stack.config import AWS_REGION
from scripts.build import package
from scripts.deploy.clouds import CLOUDS
from tests.support import terraform

STATE_BUCKET = "helios-state"
VISIBILITY_SECONDS = 2


@pytest.fixture(scope="session")
def terraform_program() -> str:
    """The path of terraform."""
    path = terraform.program()
    if path is None:
        pytest.skip("terraform is not installed")
    return path


@pytest.fixture(scope="session")
def aws_root(terraform_program, tmp_path_factory: pytest.TempPathFactory) -> terraform.Root:
    """The AWS root, initialised without a state; its packages are empty files."""
    scratch = tmp_path_factory.mktemp("terraform")
    packages = scratch / "packages"
    packages.mkdir()
    for name in CLOUDS["aws"].packages:
        (packages / f"{name}.zip").touch()
    root = terraform.Root("aws", scratch / "code", environment={"TF_VAR_packages": str(packages)})
    root.must("init", "-backend=false")
    return root


class Applied(NamedTuple):
    """Helios on an emulated AWS, deployed by Terraform. Its functions write to a database of their own."""

    root: terraform.Root
    outputs: dict[str, Any]
    endpoint: str
    database_url: str


@pytest.fixture(scope="session")
def applied(
    terraform_program, tmp_path_factory: pytest.TempPathFactory, postgres_server, valkey_server
) -> Iterator[Applied]:
    """The steps of the README on an emulator: a bucket for the state, init, apply."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE terraform_stack OWNER helios")
    database_url = postgres_server.url.rpartition("/")[0] + "/terraform_stack"
    migrate(database_url)
    package.build_all(CLOUDS["aws"].packages, native=True)
    scratch = tmp_path_factory.mktemp("applied")
    with Ministack(scratch, free_port(), log=scratch / "aws.log") as server:
        with contextlib.closing(resources.client("s3", server.url)) as s3:
            s3.create_bucket(Bucket=STATE_BUCKET)
        variables = {
            "region": AWS_REGION,
            "emulator_endpoint": server.url,
            "packages": str(package.NATIVE),
            "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",  # the emulator has no other
            "database_url": database_url,
            "redis_url": valkey_server.url,
            "visibility_seconds": str(VISIBILITY_SECONDS),
            "ingest_concurrency": str(deployer.MAX_CONCURRENCY),
            "replay_to_bus": "true",
        }
        environment = {f"TF_VAR_{name}": value for name, value in variables.items()}
        root = terraform.Root("aws", scratch / "code", environment=environment | resources.sdk_environment(server.url))
        root.must("init", *_backend(server.url))
        root.must("apply", "-auto-approve")
        yield Applied(root, root.outputs(), server.url, database_url)


def _backend(endpoint: str) -> list[str]:
    """The options for the bucket of the state, on the emulator."""
    settings = {
        "bucket": STATE_BUCKET,
        "region": AWS_REGION,
        "endpoints": f'{{s3="{endpoint}"}}',
        "use_path_style": "true",
        "skip_credentials_validation": "true",
        "skip_requesting_account_id": "true",
        "skip_metadata_api_check": "true",
    }
    return [f"-backend-config={name}={value}" for name, value in settings.items()]
