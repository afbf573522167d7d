"""Terraform for tests: the program, the providers on this machine, and a copy of the code."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from helios.processes.process import scrubbed_environment

SOURCES = Path(__file__).parents[2] / "infra/terraform"
SECONDS = 500
"""Time limit of one command: the AWS provider waits 25 s for each queue."""

_REGISTRY = "registry.terraform.io"


def program() -> str | None:
    """The path of terraform, or None if it is not installed."""
    return shutil.which("terraform")


def mirror() -> Path | None:
    """A folder with the AWS provider, so that it is not downloaded; None if this machine has none.

    Terraform finds the providers in its default folders without configuration.
    """
    patterns = (f"{folders}{_REGISTRY}/hashicorp/aws" for folders in ("*/", "*/*/"))
    folders_with_provider = (folder for pattern in patterns for folder in Path("/").glob(pattern))
    return next((folder.parents[2] for folder in folders_with_provider), None)


class Done(NamedTuple):
    """The result of a command.

    Attributes:
        code: the exit code.
        text: the output, of standard output and standard error.
    """

    code: int
    text: str


class Root:
    """A root module in a scratch copy of all Terraform code, so that terraform writes no file into the repository.

    Attributes:
        folder: the root's folder in the copy.
    """

    def __init__(self, name: str, scratch: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """Copy the code.

        Args:
            name: the name of the root, for example ``aws``.
            scratch: the folder of the copy, which must not exist.
            environment: additional variables for terraform.
        """
        shutil.copytree(SOURCES, scratch, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        self.folder = scratch / name
        self._environment = scrubbed_environment(
            TF_CLI_CONFIG_FILE=str(_configuration(scratch)),
            TF_IN_AUTOMATION="1",
            TF_INPUT="0",
            CHECKPOINT_DISABLE="1",  # otherwise terraform checks for newer versions
            **(environment or {}),
        )

    def run(self, *arguments: str) -> Done:
        """The result of ``terraform`` with these arguments in the root."""
        done = subprocess.run(
            [program() or "terraform", *arguments, "-no-color"],
            cwd=self.folder,
            env=self._environment,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return Done(done.returncode, done.stdout)

    def must(self, *arguments: str) -> str:
        """The output of ``terraform`` with these arguments, which must succeed."""
        done = self.run(*arguments)
        assert done.code == 0, done.text
        return done.text

    def outputs(self) -> dict[str, Any]:
        """The root's outputs after an apply, including the secret ones."""
        return {name: output["value"] for name, output in json.loads(self.must("output", "-json")).items()}


def _configuration(folder: Path) -> Path:
    """Terraform's configuration file: the AWS provider comes from the mirror, all others are downloaded."""
    file = folder / "terraform.rc"
    folder_of_providers = mirror()
    file.write_text(
        ""
        if folder_of_providers is None
        else f"""provider_installation {{
  filesystem_mirror {{
    path    = "{folder_of_providers}"
    include = ["{_REGISTRY}/hashicorp/aws"]
  }}
  direct {{
    exclude = ["{_REGISTRY}/hashicorp/aws"]
  }}
}}
"""
    )
    return file
