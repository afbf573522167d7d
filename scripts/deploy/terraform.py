"""Terraform's roots as steps, and the outputs that one root passes to another."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.deploy.clouds import Cloud
from scripts.deploy.plan import Step, StepFailed

Outputs = Mapping[str, Any]

_CHANGES = 2
"""The exit code of ``terraform plan -detailed-exitcode`` if something would change."""


def init(cloud: Cloud) -> Step:
    """The step that downloads providers and configures the state's backend."""
    command = ("terraform", "init", "-input=false", f"-backend-config={cloud.backend.name}")
    return Step(
        f"{cloud.source}: initialise Terraform", command, folder=cloud.root, environment=lambda: cloud.data_folder
    )


def apply(
    cloud: Cloud,
    variables: Callable[[], Mapping[str, object]] = dict,
    *,
    yes: bool,
    only: Sequence[str] = (),
) -> Step:
    """The step that applies a root; Terraform shows its own plan and asks for approval.

    Args:
        cloud: the cloud whose root is applied.
        variables: returns the outputs of other roots when the step runs. They are passed in the environment, because
            a command line must not contain secrets.
        yes: whether Terraform applies without asking.
        only: the modules to apply, with their dependencies; Terraform ignores names that do not exist.
    """
    targets = (f"-target={module}" for module in only)
    command = ("terraform", "apply", *cloud.variable_files, *targets, *_approval(yes=yes))
    title = ["apply"]
    if only:
        title.append(" and ".join(only) + " only")
    return Step(
        f"{cloud.source}: {' '.join(title)}",
        command,
        folder=cloud.root,
        environment=lambda: {**cloud.data_folder, **_as_environment(variables())},
    )


def record(cloud: Cloud, variables: Callable[[], Mapping[str, object]]) -> Step:
    """The step that records in the state what the cloud answers, and changes nothing in the cloud.

    After an apply, the state lacks what the release moved, and has null for what clouds answer as empty. The next
    comparison with the state would show both as changed without Terraform.
    """
    command = ("terraform", "apply", "-refresh-only", *cloud.variable_files, *_approval(yes=True))
    return Step(
        f"{cloud.source}: record what the cloud answers",
        command,
        folder=cloud.root,
        environment=lambda: {**cloud.data_folder, **_as_environment(variables())},
    )


def plan(cloud: Cloud, variables: Mapping[str, object]) -> bool:
    """Print what an apply of the root would change, and return whether it would change anything.

    Args:
        cloud: the cloud whose root is planned.
        variables: the outputs of other roots, as for ``apply``.

    Raises:
        StepFailed: Terraform could not plan; it has printed the reason.
    """
    return _planned(cloud, variables, "-detailed-exitcode") == _CHANGES


def drift(cloud: Cloud, variables: Mapping[str, object]) -> list[str]:
    """Print how the resources differ from the state, and return the addresses of those that differ.

    Not by the exit code: it also reports an order of sensitive attributes that has no meaning.

    Raises:
        StepFailed: Terraform could not plan; it has printed the reason.
    """
    with TemporaryDirectory(prefix="helios-drift-") as folder:  # the plan has secrets: only this user may read it
        file = f"{folder}/plan"
        _planned(cloud, variables, "-refresh-only", f"-out={file}")
        command = ("terraform", "show", "-json", file)
        environment = {**os.environ, **cloud.data_folder}
        shown = subprocess.run(command, check=False, cwd=cloud.root, env=environment, capture_output=True, text=True)
    if shown.returncode:
        raise StepFailed(f"{cloud.source}: terraform show: {shown.stderr.strip()}")
    return changed_resources(json.loads(shown.stdout))


def changed_resources(plan: Mapping[str, Any]) -> list[str]:
    """The addresses of the resources that differ from the state, in a plan as Terraform shows it in JSON.

    An argument that was not set and is answered as empty does not differ.
    """
    return [
        resource["address"]
        for resource in plan.get("resource_drift", [])
        if _without_empty(resource["change"]["before"]) != _without_empty(resource["change"]["after"])
    ]


def _without_empty(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (arguments or {}).items() if value not in (None, "", [], {})}


def _planned(cloud: Cloud, variables: Mapping[str, object], *options: str) -> int:
    command = ["terraform", "plan", "-input=false", "-lock-timeout=5m", *options, *cloud.variable_files]
    environment = {**os.environ, **cloud.data_folder, **_as_environment(variables)}
    code = subprocess.run(command, check=False, cwd=cloud.root, env=environment).returncode
    if code not in {0, _CHANGES}:
        raise StepFailed(f"{cloud.source}: terraform plan exited with {code}; see above")
    return code


def destroy(cloud: Cloud, variables: Mapping[str, object], *, yes: bool) -> Step:
    """The step that destroys a root's resources. The variables must be set, but their values have no effect."""
    command = ("terraform", "destroy", *cloud.variable_files, *_approval(yes=yes))
    return Step(
        f"{cloud.source}: destroy",
        command,
        folder=cloud.root,
        environment=lambda: {**cloud.data_folder, **_as_environment(variables)},
    )


def _approval(*, yes: bool) -> tuple[str, ...]:
    """The options of Terraform. ``-input=false`` would also disable the approval, so it goes with ``-auto-approve``."""
    return ("-input=false", "-auto-approve") if yes else ()


def outputs(cloud: Cloud) -> Outputs:
    """The root's outputs; empty if it was never applied.

    Raises:
        StepFailed: Terraform can't read its state.
    """
    command = ("terraform", "output", "-json")
    environment = {**os.environ, **cloud.data_folder}
    done = subprocess.run(command, check=False, cwd=cloud.root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise StepFailed(f"{cloud.source}: terraform output: {done.stderr.strip()}")
    return {name: output["value"] for name, output in json.loads(done.stdout).items()}


def required_output(cloud: Cloud, name: str) -> str:
    """One output of the root.

    Raises:
        StepFailed: the root has no such output.
    """
    value = outputs(cloud).get(name)
    if not isinstance(value, str) or not value:
        raise StepFailed(f"{cloud.source}: the root has no output {name}; apply it first")
    return value


def file_setting(cloud: Cloud, name: str) -> Path | None:
    """The file of the root that sets this variable, and so overrides the environment; None if there is none."""
    files = [cloud.settings, *sorted(cloud.root.glob("terraform.tfvars*")), *sorted(cloud.root.glob("*.auto.tfvars*"))]
    return next((file for file in files if file.is_file() and _assignment(name).search(file.read_text())), None)


def setting(cloud: Cloud, name: str) -> str | None:
    """The value of this variable in a file of the root or in the environment; None if it has its default."""
    file = file_setting(cloud, name)
    match = _assignment(name).search(file.read_text()) if file else None
    return match[1] if match else os.environ.get(f"TF_VAR_{name}")


def _assignment(name: str) -> re.Pattern[str]:
    """Matches an assignment in ``terraform.tfvars`` or in JSON; the group is the value, if it is a string."""
    return re.compile(rf'(?:^\s*|"){name}"?\s*[=:]\s*"?([^"\n]*)', re.MULTILINE)


def _as_environment(variables: Mapping[str, object]) -> dict[str, str]:
    return {
        f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()
    }
