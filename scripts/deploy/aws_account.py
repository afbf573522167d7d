"""The limits of an AWS account that no plan of Terraform shows, asked before the first step."""

import json
import subprocess
import sys
from typing import Any, Final

from scripts.deploy.clouds import Cloud
from scripts.deploy.terraform import setting

DEFAULT_INGEST_CONCURRENCY: Final = 5
DEFAULT_MAJOR_VERSION: Final = 17
"""The defaults of the root's variables ``ingest_concurrency`` and ``database_major_version``; a test compares them."""

API_RESERVATION: Final = 50
"""Each execution of the API holds a connection to Postgres; the API's throttle alone would allow a thousand."""

MUST_STAY_UNRESERVED: Final = 100
"""AWS Lambda Developer Guide, "Configuring reserved concurrency": Lambda refuses to reserve the account's last 100."""

_SECONDS: Final = 30


def concurrency(aws: Cloud) -> int | None:
    """How many functions the account may run at once in the region of this deployment; None if AWS does not answer."""
    limit = _ask(aws, "lambda", "get-account-settings", "--query", "AccountLimit.ConcurrentExecutions")
    return limit if isinstance(limit, int) else None


def problems(aws: Cloud) -> list[str]:
    """Why the deployment would fail or starve in this account: a sentence for each reason, with its remedy."""
    reasons = []
    limit = concurrency(aws)
    ingest = int(setting(aws, "ingest_concurrency") or DEFAULT_INGEST_CONCURRENCY)
    if limit is not None and ingest > limit // 2:
        reasons.append(
            f"aws: ingest_concurrency is {ingest}, and this account may run {limit} functions at once: a backlog would "
            f"leave none for the API and the relay. Set ingest_concurrency to {max(2, limit // 2)} in "
            f'{aws.settings.name}, or request more from Service Quotas ("Concurrent executions")'
        )
    if not setting(aws, "database_url"):
        major = setting(aws, "database_major_version") or DEFAULT_MAJOR_VERSION
        family = ("--db-parameter-group-family", f"aurora-postgresql{major}")
        versions = ("--engine", "aurora-postgresql", *family, "--query", "DBEngineVersions[].EngineVersion")
        if _ask(aws, "rds", "describe-db-engine-versions", *versions) == []:
            reasons.append(
                f"aws: this region has no Aurora PostgreSQL {major}: set database_major_version in {aws.settings.name}"
            )
    return reasons


def reservations(aws: Cloud) -> dict[str, object]:
    """The value of the root's variable ``reserved_concurrency``, where the account has enough and no file sets it."""
    limit = concurrency(aws)
    if setting(aws, "reserved_concurrency") or limit is None or limit < API_RESERVATION + MUST_STAY_UNRESERVED:
        return {}
    return {"reserved_concurrency": {"api": API_RESERVATION}}


def _ask(aws: Cloud, *command: str) -> Any:
    """The answer of AWS' command line, decoded; None if it fails, which Terraform reports better than this can."""
    region = setting(aws, "region")
    where = ("--region", region) if region else ()
    line = [aws.tool, *command, *where, "--output", "json"]
    try:
        done = subprocess.run(
            line, check=False, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"deploy: `{' '.join(line)}` was not answered: {error}\n")
        return None
    if done.returncode:
        sys.stderr.write(f"deploy: `{' '.join(line)}` was not answered: {done.stderr.strip()}\n")
        return None
    return json.loads(done.stdout)
