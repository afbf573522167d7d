"""``python -m scripts.deploy.release``: gives a tenth of the calls to the new version of each function, then all.

Terraform publishes a version on AWS, or a revision on Google Cloud, with every change, and nothing calls it. On AWS
this script moves the alias ``live``, through which the queues, the APIs and the schedule call the functions; with
``--cloud gcp`` it divides the traffic of the functions' services. If an alarm of the deployment fires (on Google Cloud:
if the new revision answers with 5xx), or if the script is interrupted, every function gets its version back.
``--rollback`` gives all calls to the version before.

A weighted alias, and not CodeDeploy: it needs no further service, role and identity, all functions move together, and
the alarms are those that the operators get anyway.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from scripts.deploy import cloud_run
from scripts.deploy.cloud_run import CloudRunRelease
from scripts.deploy.clouds import CLOUDS, Cloud, add_environment
from scripts.deploy.plan import StepFailed
from scripts.deploy.stages import MINUTES, StagedRelease, Versions
from scripts.deploy.terraform import Outputs, outputs

RELEASING: Final = ("aws", "gcp")
"""The clouds that divide the calls between two versions. Azure's Flex Consumption has no slots."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1

ALIAS: Final = "live"
KEPT: Final = 5
"""Versions of a function that stay, for a rollback; Lambda limits the storage of all versions together."""


class LambdaRelease(StagedRelease):
    """The release of the versions of a deployment.

    Args:
        functions: a client of Lambda.
        alarms: a client of CloudWatch.
        name: the deployment, with which the names of its alarms begin.
        wait: sleeps between two looks at the alarms.
    """

    def __init__(self, functions: Any, alarms: Any, name: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        super().__init__(wait=wait)
        self._functions = functions
        self._alarms = alarms
        self._name = name

    def live(self, names: Sequence[str]) -> dict[str, str]:
        """The released version of each function."""
        return {
            name: self._functions.get_alias(FunctionName=name, Name=ALIAS)["FunctionVersion"] for name in sorted(names)
        }

    def previous(self, names: Sequence[str]) -> dict[str, str]:
        """The version before the released one, of the functions that have one."""
        released = self.live(names)
        before = {
            name: [version for version in self._versions(name) if version < int(released[name])] for name in released
        }
        return {name: str(versions[-1]) for name, versions in before.items() if versions}

    def firing(self, _changed: Versions = MappingProxyType({})) -> list[str]:
        """The names of the deployment's alarms that fire."""
        pages = self._alarms.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=f"{self._name}-", StateValue="ALARM", AlarmTypes=["MetricAlarm"]
        )
        return sorted(alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"])

    def _route(self, function: str, version: str, share: float = 0.0, of: str = "") -> None:
        routing = {"AdditionalVersionWeights": {of: share} if share else {}}
        self._functions.update_alias(FunctionName=function, Name=ALIAS, FunctionVersion=version, RoutingConfig=routing)

    def _versions(self, function: str) -> list[int]:
        """The numbers of its versions, the oldest first."""
        pages = self._functions.get_paginator("list_versions_by_function").paginate(FunctionName=function)
        found = [version["Version"] for page in pages for version in page["Versions"]]
        return sorted(int(version) for version in found if version != "$LATEST")

    def _finish(self, function: str) -> None:
        for version in self._versions(function)[:-KEPT]:
            self._functions.delete_function(FunctionName=function, Qualifier=str(version))


def _applied(cloud: Cloud) -> Outputs:
    known = outputs(cloud)
    if "releases" not in known:
        raise StepFailed(f"{cloud.source}: the root has no output releases; apply it first")
    return known


def _on_aws(aws: Cloud) -> tuple[LambdaRelease, Versions]:
    """AWS' functions, and their newest versions."""
    known = _applied(aws)
    functions, alarms = (boto3.client(name, region_name=known["region"]) for name in ("lambda", "cloudwatch"))
    return LambdaRelease(functions, alarms, known["name"]), known["releases"]


def _on_gcp(gcp: Cloud) -> tuple[CloudRunRelease, Versions]:
    """Google Cloud's functions, and their newest revisions."""
    known = _applied(gcp)
    release = CloudRunRelease(cloud_run.session(), known["project"], known["region"])
    for name in release.pin(known["releases"]):
        sys.stdout.write(f"      {name}: the first revision gets all calls\n")
    return release, release.newest(known["releases"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, release or roll back, and return the exit status."""
    parser = argparse.ArgumentParser(prog="release", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cloud", choices=RELEASING, default="aws", help="whose functions (%(default)s)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--now", action="store_true", help="give all calls to the new version at once")
    how.add_argument("--rollback", action="store_true", help="give all calls to the version before, at once")
    how.add_argument("--minutes", type=float, default=MINUTES, help="length of each of the two stages (%(default)s)")
    add_environment(parser)
    options = parser.parse_args(arguments)
    cloud = CLOUDS[options.cloud]._replace(environment=options.env)
    try:
        release, newest = _on_aws(cloud) if cloud.source == "aws" else _on_gcp(cloud)
        if options.rollback:
            release.run(release.previous(list(newest)), minutes=0)
        else:
            release.run(newest, minutes=0 if options.now else options.minutes)
    except (StepFailed, OSError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"release: {error}\n")
        return EXIT_FAILED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
