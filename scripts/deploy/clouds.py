"""The requirements of a deployment to each cloud: its command line, credentials, and the settings of its root."""

import argparse
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from helios.model.sources import BUILT_IN, BuiltIn

ROOT: Final = Path(__file__).resolve().parents[2]
TERRAFORM: Final = ROOT / "infra/terraform"

ENVIRONMENTS: Final = ("dev", "stage", "prod")
"""The deployments that can stand beside each other, each with its own state, settings and names."""

_PROBE_SECONDS: Final = 30


class Cloud(NamedTuple):
    """The deployment facts of one cloud.

    Attributes:
        source: the short name of the cloud, and the folder of its root.
        tool: its command line.
        whoami: a command that succeeds if Terraform has credentials.
        tool_whoami: a command that succeeds if the command line has credentials.
        variables: the environment variables that its provider requires, each with a description of its value.
        remedy: how to get credentials: the variables, and the command.
        packages: the zips that its root uploads.
        environment: one of ``ENVIRONMENTS``; None for the only deployment.
    """

    source: BuiltIn
    tool: str
    whoami: tuple[str, ...]
    tool_whoami: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    remedy: str
    packages: tuple[str, ...]
    environment: str | None = None

    @property
    def root(self) -> Path:
        """The folder of its Terraform root."""
        return TERRAFORM / self.source

    @property
    def backend(self) -> Path:
        """The file that names the location of its state, for ``terraform init``."""
        return self.root / (f"backend-{self.environment}.hcl" if self.environment else "backend.hcl")

    @property
    def settings(self) -> Path:
        """The file with the values of its root's variables."""
        return self.root / (f"{self.environment}.tfvars" if self.environment else "terraform.tfvars")

    @property
    def deployment(self) -> str:
        """The prefix of the names of its resources. A name on Azure has no hyphens."""
        separator = "" if self.source == "azure" else "-"
        return f"helios{separator}{self.environment}" if self.environment else "helios"

    @property
    def state(self) -> str:
        """The place of its state in the bucket or container."""
        return f"helios/{self.environment}/{self.source}" if self.environment else f"helios/{self.source}"

    @property
    def data_folder(self) -> Mapping[str, str]:
        """The variable that keeps Terraform's backend and providers of each environment apart."""
        return {"TF_DATA_DIR": f".terraform-{self.environment}"} if self.environment else {}

    @property
    def variable_files(self) -> tuple[str, ...]:
        """The options that name the settings; Terraform finds terraform.tfvars without."""
        return (f"-var-file={self.settings.name}",) if self.environment else ()


CLOUDS: Final[dict[BuiltIn, Cloud]] = {
    "aws": Cloud(
        source="aws",
        tool="aws",
        whoami=("aws", "sts", "get-caller-identity", "--output", "json"),
        tool_whoami=("aws", "sts", "get-caller-identity", "--output", "json"),
        variables=(),
        remedy="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `aws sso login` or `aws configure`",
        packages=(
            *("aws-api", "aws-archive", "aws-archive-layer", "aws-ingest", "aws-relay", "aws-replay", "aws-sweep"),
            "aws-websocket",
        ),
    ),
    "gcp": Cloud(
        source="gcp",
        tool="gcloud",
        whoami=("gcloud", "auth", "application-default", "print-access-token", "--quiet"),
        tool_whoami=("gcloud", "auth", "print-access-token", "--quiet"),
        variables=(("GOOGLE_CLOUD_PROJECT", "the project's id; `gcloud projects list` shows it"),),
        remedy="run `gcloud auth login --update-adc`, or set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials "
        "and run `gcloud auth login --cred-file` with it",
        packages=("gcp",),
    ),
    "azure": Cloud(
        source="azure",
        tool="az",
        # `az account show` only reads a cache of the last sign-in.
        whoami=("az", "account", "get-access-token", "--output", "none"),
        tool_whoami=("az", "account", "get-access-token", "--output", "none"),
        variables=(("ARM_SUBSCRIPTION_ID", "the subscription's id; `az account list --output table` shows it"),),
        remedy="run `az login`, or set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID and run `az login "
        "--service-principal`",
        packages=("azure",),
    ),
}


def selected(sources: Sequence[BuiltIn] | None, environment: str | None = None) -> list[Cloud]:
    """These clouds, or all, in the order of deployment."""
    chosen = [CLOUDS[source] for source in BUILT_IN if source in (sources or BUILT_IN)]
    return [cloud._replace(environment=environment) for cloud in chosen]


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--env`` to a command line."""
    parser.add_argument(
        "--env",
        choices=ENVIRONMENTS,
        help="one of several deployments beside each other: its own state, its own settings in ENV.tfvars, and names\n"
        "that begin with helios-ENV; without it, there is one deployment, helios",
    )


def no_access(cloud: Cloud, *, tool_only: bool = False) -> list[str]:
    """Why the cloud can't be accessed from this machine: a sentence for each reason, with its remedy.

    Args:
        cloud: the cloud to check.
        tool_only: whether only its command line is used, and not Terraform.
    """
    reasons = [
        f"{cloud.source}: {name} is not set. Set it to {value}"
        for name, value in cloud.variables
        if not os.environ.get(name)
    ]
    if shutil.which(cloud.tool) is None:
        return [*reasons, f"{cloud.source}: the command line `{cloud.tool}` is not installed"]
    whoami = cloud.tool_whoami if tool_only else cloud.whoami
    try:
        probe = subprocess.run(
            whoami, check=False, capture_output=True, text=True, timeout=_PROBE_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return [*reasons, f"{cloud.source}: `{' '.join(whoami)}` did not end within {_PROBE_SECONDS} s"]
    if probe.returncode:
        message = (probe.stderr.strip().splitlines() or ["no reason options"])[-1]
        reasons.append(f"{cloud.source}: no credentials ({message}): {cloud.remedy}")
    return reasons


def not_ready(cloud: Cloud) -> list[str]:
    """Why the cloud can't be deployed to from this machine; includes ``no_access``."""
    reasons = no_access(cloud)
    if shutil.which("terraform") is None:
        reasons.append('terraform is not installed: 1.11 or newer, from HashiCorp\'s page "Install Terraform"')
    option = f" --env {cloud.environment}" if cloud.environment else ""
    remedy = f"run `python -m scripts.deploy.bootstrap_{cloud.source}{option}` to write it"
    reasons.extend(
        f"{cloud.source}: {path.relative_to(ROOT)} is missing: {remedy}"
        for path in (cloud.backend, cloud.settings)
        if not path.is_file()
    )
    return reasons
