"""Installs the schema-only provider and writes the configuration that makes Terraform use it.

``python -m scripts.build.terraform_schema.serve ROOT`` checks a root module: ``infra/terraform/gcp``.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from scripts.build.terraform_schema.extract import SCHEMAS

BUILD = Path(__file__).resolve().parents[3] / "build/terraform-schema"
_LOCK = SCHEMAS / "provider.lock"
_PROVIDER = Path(__file__).with_name("provider.py")
_INSTALL_SECONDS = 300
_CHECK_SECONDS = 300


def install(folder: Path = BUILD) -> Path:
    """Create the provider's hash-pinned environment, unless it is up to date.

    It is separate because its protobuf is older than the one of Google's client libraries.

    Returns:
        The environment's Python.

    Raises:
        subprocess.CalledProcessError: the installation failed.
    """
    environment = folder / "venv"
    python, stamp = environment / "bin/python", environment / ".lock"
    expected = f"{sys.version}\n{_LOCK.read_text()}"
    if stamp.exists() and stamp.read_text() == expected:
        return python
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    steps: list[list[str | Path]] = [
        ["venv", "--clear", "--python", sys.executable, environment],
        ["pip", "install", "--python", python, "--require-hashes", "--no-deps", "--requirement", _LOCK],
    ]
    for step in steps:
        subprocess.run([uv, "--quiet", *step], check=True, timeout=_INSTALL_SECONDS)
    stamp.write_text(expected)
    return python


def configuration(folder: Path = BUILD) -> Path:
    """Write Terraform's CLI configuration, with a provider for every schema, and return its file.

    Terraform then needs no ``init`` for a root without modules, and uses no other version of these providers.
    """
    python = install(folder)
    overrides = []
    for schema in sorted(SCHEMAS.glob("*.json.gz")):
        name = schema.name.partition("-")[0]
        provider_folder = folder / name
        provider_folder.mkdir(parents=True, exist_ok=True)
        program = provider_folder / f"terraform-provider-{name}"
        # HOME: the library stores the certificate of its local connection there.
        program.write_text(f'#!/bin/sh\nHOME="{folder}" exec "{python}" "{_PROVIDER}" "{schema}"\n')
        program.chmod(0o755)
        overrides.append(f'    "hashicorp/{name}" = "{provider_folder}"\n')
    file = folder / "terraform.rc"
    file.write_text(f"provider_installation {{\n  dev_overrides {{\n{''.join(overrides)}  }}\n}}\n")
    return file


def main() -> None:
    """Check a root; exits with Terraform's own status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT")
    root = parser.parse_args().root
    terraform = shutil.which("terraform")
    if terraform is None:
        sys.exit("terraform is not installed; see infra/terraform/README.md")
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": str(configuration()), "CHECKPOINT_DISABLE": "1"}
    for arguments in (["get"], ["validate"]):
        done = subprocess.run([terraform, *arguments], cwd=root, env=environment, check=False, timeout=_CHECK_SECONDS)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
