"""Terraform's roots as steps, and what one root tells the next."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.deploy.clouds import Cloud
from scripts.deploy.plan import Step, StepFailed

Outputs = Mapping[str, Any]


def init(cloud: Cloud) -> Step:
    """The step that fetches providers and finds the state."""
    command = ("terraform", "init", "-input=false", f"-backend-config={cloud.backend.name}")
    return Step(f"{cloud.source}: initialise Terraform", command, folder=cloud.root)


def apply(
    cloud: Cloud,
    variables: Callable[[], Mapping[str, object]] = dict,
    *,
    yes: bool,
    why: str = "",
    only: Sequence[str] = (),
) -> Step:
    """The step that applies a root; Terraform shows its own plan, and asks unless it was agreed to.

    Args:
        cloud: whose root.
        variables: what other roots told, asked for when the step runs. They go by the environment: secrets must not
            stand in a command line.
        yes: whether it was agreed to beforehand.
        why: what for, if this root was applied before.
        only: modules to leave it at, with what they depend on; one that is not there is none of the matter.
    """
    command = ("terraform", "apply", *(f"-target={module}" for module in only), *_asking(yes=yes))
    title = ["apply"]
    if only:
        title.append(" and ".join(only) + " only")
    if why:
        title.append(f"again, {why}")
    return Step(
        f"{cloud.source}: {' '.join(title)}",
        command,
        folder=cloud.root,
        environment=lambda: _as_environment(variables()),
    )


def destroy(cloud: Cloud, variables: Mapping[str, object], *, yes: bool) -> Step:
    """The step that destroys what a root has made; the variables must only be there, they decide nothing any more."""
    command = ("terraform", "destroy", *_asking(yes=yes))
    return Step(f"{cloud.source}: destroy", command, folder=cloud.root, environment=lambda: _as_environment(variables))


def _asking(*, yes: bool) -> tuple[str, ...]:
    """Ask nothing, or whatever Terraform wants to know: with ``-input=false`` it could not be told yes."""
    return ("-input=false", "-auto-approve") if yes else ()


def outputs(cloud: Cloud) -> Outputs:
    """What the root has told; nothing if it was never applied.

    Raises:
        StepFailed: Terraform can't read its state.
    """
    command = ("terraform", "output", "-json")
    done = subprocess.run(command, check=False, cwd=cloud.root, capture_output=True, text=True)
    if done.returncode:
        raise StepFailed(f"{cloud.source}: terraform output: {done.stderr.strip()}")
    return {name: one["value"] for name, one in json.loads(done.stdout).items()}


def told(cloud: Cloud, name: str) -> str:
    """One output that must be there.

    Raises:
        StepFailed: it isn't.
    """
    value = outputs(cloud).get(name)
    if not isinstance(value, str) or not value:
        raise StepFailed(f"{cloud.source}: its root has no output {name}: apply it first")
    return value


def set_in(cloud: Cloud, name: str) -> Path | None:
    """The file beside the root that sets this variable, and so wins over the environment; None: there is none."""
    files = [cloud.settings, *cloud.root.glob("terraform.tfvars.json"), *cloud.root.glob("*.auto.tfvars*")]
    return next((file for file in files if file.is_file() and _given(name).search(file.read_text())), None)


def setting(cloud: Cloud, name: str) -> str | None:
    """What a file beside the root, or else the environment, says that this variable is; None: it has its default."""
    file = set_in(cloud, name)
    found = _given(name).search(file.read_text()) if file else None
    return found[1] if found else os.environ.get(f"TF_VAR_{name}")


def _given(name: str) -> re.Pattern[str]:
    """A line of ``terraform.tfvars``, or a pair of JSON, that gives a value; the value, if it is a plain text."""
    return re.compile(rf'(?:^\s*|"){name}"?\s*[=:]\s*"?([^"\n]*)', re.MULTILINE)


def _as_environment(variables: Mapping[str, object]) -> dict[str, str]:
    return {
        f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()
    }
