"""Terraform for tests: the program, the providers that lie on this machine, and a copy of the code to run it on."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from local.stack.process import scrubbed_environment

SOURCES = Path(__file__).parents[2] / "infra/terraform"
SECONDS = 500
"""Longest time for one command: the AWS provider waits 25 s for each queue."""

_REGISTRY = "registry.terraform.io"


def program() -> str | None:
    """Where terraform is; None: it is not installed."""
    return shutil.which("terraform")


def mirror() -> Path | None:
    """A folder that has the AWS provider, so that nothing is downloaded; None: there is none on this machine.

    Terraform's own places for such folders are known to it and need no configuration.
    """
    patterns = (f"{folders}{_REGISTRY}/hashicorp/aws" for folders in ("*/", "*/*/"))
    found = (folder for pattern in patterns for folder in Path("/").glob(pattern))
    return next((folder.parents[2] for folder in found), None)


class Done(NamedTuple):
    """How a command ended.

    Attributes:
        code: its exit code.
        text: what it wrote, to both outputs.
    """

    code: int
    text: str


class Root:
    """A root module in a scratch copy of all Terraform code: what terraform writes next to it stays out of the tree.

    Attributes:
        folder: the root's folder in the copy.
    """

    def __init__(self, name: str, scratch: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """Copy the code.

        Args:
            name: of the root, ``aws``.
            scratch: where to; must not exist yet.
            environment: more variables for terraform.
        """
        shutil.copytree(SOURCES, scratch, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        self.folder = scratch / name
        self._environment = scrubbed_environment(
            TF_CLI_CONFIG_FILE=str(_configuration(scratch)),
            TF_IN_AUTOMATION="1",
            TF_INPUT="0",
            CHECKPOINT_DISABLE="1",  # asks for newer versions otherwise
            **(environment or {}),
        )

    def run(self, *arguments: str) -> Done:
        """Run ``terraform`` with these arguments in the root."""
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
        """The same, and its output; it has to succeed."""
        done = self.run(*arguments)
        assert done.code == 0, done.text
        return done.text

    def outputs(self) -> dict[str, Any]:
        """The root's outputs after an apply, those that are secret too."""
        return {name: output["value"] for name, output in json.loads(self.must("output", "-json")).items()}


def _configuration(folder: Path) -> Path:
    """Terraform's own configuration: providers of the mirror come from there, all others are downloaded."""
    file = folder / "terraform.rc"
    place = mirror()
    file.write_text(
        ""
        if place is None
        else f"""provider_installation {{
  filesystem_mirror {{
    path    = "{place}"
    include = ["{_REGISTRY}/hashicorp/aws"]
  }}
  direct {{
    exclude = ["{_REGISTRY}/hashicorp/aws"]
  }}
}}
"""
    )
    return file
