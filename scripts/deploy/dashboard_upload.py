"""Puts the built dashboard where CloudFront finds it, with the addresses of what was deployed."""

import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from local.demo.dashboard import DIST
from scripts.deploy.clouds import Cloud
from scripts.deploy.plan import Step, StepFailed
from scripts.deploy.terraform import outputs

_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


def steps(aws: Cloud) -> list[Step]:
    """The upload."""
    return [Step("upload the dashboard, with the API's address in its config.js", partial(_upload, aws))]


def config(api_url: str, ws_url: str) -> str:
    """The dashboard's ``config.js``."""
    return f"window.heliosConfig = {json.dumps({'apiUrl': api_url, 'wsUrl': ws_url})};\n"


def _upload(aws: Cloud) -> None:
    """Copy the assets first, whose names change with their content, and the page that names them last.

    Raises:
        StepFailed: the AWS command line could not do it.
    """
    known = outputs(aws)
    if not known.get("dashboard_bucket"):
        return  # it is served elsewhere
    bucket = f"s3://{known['dashboard_bucket']}"
    _aws("s3", "sync", f"{DIST}/assets", f"{bucket}/assets", "--cache-control", _FOR_EVER)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "config.js"
        file.write_text(config(known["api_url"], known["websocket_url"]))
        _aws("s3", "cp", str(file), f"{bucket}/config.js", "--cache-control", _ASK_AGAIN)
    others = ("--exclude", "assets/*", "--exclude", "config.js")
    _aws("s3", "sync", str(DIST), bucket, *others, "--cache-control", _ASK_AGAIN)
    distribution = ("--distribution-id", known["dashboard_distribution_id"])
    _aws("cloudfront", "create-invalidation", *distribution, "--paths", "/*", "--output", "text")


def _aws(*arguments: str) -> None:
    command = ["aws", *arguments]
    if code := subprocess.run(command, check=False).returncode:
        raise StepFailed(f"{' '.join(command)} ended with {code}, see above")
