"""What deploying to a cloud takes on this machine: its command line, credentials, and the settings of its root."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from helios.model.events import SOURCES, Source

ROOT: Final = Path(__file__).resolve().parents[2]
TERRAFORM: Final = ROOT / "infra/terraform"

_PROBE_SECONDS: Final = 30


class Cloud(NamedTuple):
    """One cloud, as those who deploy to it see it.

    Attributes:
        source: its short name, which is its root's folder too.
        tool: its command line.
        whoami: the command that succeeds if somebody is signed in, as Terraform would be.
        tool_whoami: the same for the command line itself.
        variables: the environment variables that its provider can't do without.
        remedy: what to do if nobody is signed in: the variables, and the command.
        packages: the zips that its root uploads.
    """

    source: Source
    tool: str
    whoami: tuple[str, ...]
    tool_whoami: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    remedy: str
    packages: tuple[str, ...]

    @property
    def root(self) -> Path:
        """The folder of its Terraform root."""
        return TERRAFORM / self.source

    @property
    def backend(self) -> Path:
        """Where its state is kept: arguments of ``terraform init``."""
        return self.root / "backend.hcl"

    @property
    def settings(self) -> Path:
        """Values of its root's variables."""
        return self.root / "terraform.tfvars"


CLOUDS: Final[dict[Source, Cloud]] = {
    "aws": Cloud(
        source="aws",
        tool="aws",
        whoami=("aws", "sts", "get-caller-identity", "--output", "json"),
        tool_whoami=("aws", "sts", "get-caller-identity", "--output", "json"),
        variables=(),
        remedy="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `aws sso login` or `aws configure`",
        packages=("aws-api", "aws-ingest", "aws-relay", "aws-replays", "aws-sweep", "aws-websocket"),
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
        # `az account show` only reads what was true when somebody signed in.
        whoami=("az", "account", "get-access-token", "--output", "none"),
        tool_whoami=("az", "account", "get-access-token", "--output", "none"),
        variables=(("ARM_SUBSCRIPTION_ID", "the subscription's id; `az account list --output table` shows it"),),
        remedy="run `az login`, or set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID and run `az login "
        "--service-principal`",
        packages=("azure",),
    ),
}


def chosen(sources: Sequence[Source] | None) -> list[Cloud]:
    """These clouds, or all, in the order in which they are deployed."""
    return [CLOUDS[source] for source in SOURCES if source in (sources or SOURCES)]


def no_access(cloud: Cloud, *, tool_only: bool = False) -> list[str]:
    """Why this cloud can't be spoken to from here: a sentence for each reason, with what mends it.

    Args:
        cloud: which.
        tool_only: whether only its command line speaks, and no Terraform.
    """
    reasons = [
        f"{cloud.source}: {name} is not set: write {what}" for name, what in cloud.variables if not os.environ.get(name)
    ]
    if shutil.which(cloud.tool) is None:
        return [*reasons, f"{cloud.source}: the command line `{cloud.tool}` is not installed"]
    whoami = cloud.tool_whoami if tool_only else cloud.whoami
    try:
        probe = subprocess.run(
            whoami, check=False, capture_output=True, text=True, timeout=_PROBE_SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return [*reasons, f"{cloud.source}: `{' '.join(whoami)}` gave no answer within {_PROBE_SECONDS} s"]
    if probe.returncode:
        said = (probe.stderr.strip().splitlines() or ["no reason given"])[-1]
        reasons.append(f"{cloud.source}: no credentials ({said}): {cloud.remedy}")
    return reasons


def not_ready(cloud: Cloud) -> list[str]:
    """Why this cloud can't be deployed to from here; includes ``no_access``."""
    reasons = no_access(cloud)
    if shutil.which("terraform") is None:
        reasons.append('terraform is not installed: 1.11 or newer, from HashiCorp\'s page "Install Terraform"')
    remedy = f"`python -m scripts.deploy.bootstrap_{cloud.source}` writes it"
    reasons.extend(
        f"{cloud.source}: {path.relative_to(ROOT)} is missing: {remedy}"
        for path in (cloud.backend, cloud.settings)
        if not path.is_file()
    )
    return reasons
