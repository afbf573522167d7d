"""Uploads the built dashboard to the bucket behind CloudFront, with the addresses of the deployment."""

import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from local.demo.dashboard_build import DIST
from scripts.deploy.clouds import Cloud
from scripts.deploy.plan import Step, StepFailed
from scripts.deploy.terraform import outputs

_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


def steps(aws: Cloud) -> list[Step]:
    """The steps that upload the dashboard."""
    return [Step("upload the dashboard, with the API's address in its config.js", partial(_upload, aws))]


def config(api_url: str, ws_url: str) -> str:
    """The dashboard's ``config.js``."""
    return f"window.heliosConfig = {json.dumps({'apiUrl': api_url, 'wsUrl': ws_url})};\n"


def _upload(aws: Cloud) -> None:
    """Upload the assets first, whose names change with their content, and the page that refers to them last.

    Raises:
        StepFailed: the AWS command line failed.
    """
    known = outputs(aws)
    if not known.get("dashboard_bucket"):
        return  # the dashboard is hosted elsewhere
    bucket = f"s3://{known['dashboard_bucket']}"
    _aws("s3", "sync", f"{DIST}/assets", f"{bucket}/assets", "--cache-control", _IMMUTABLE)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "config.js"
        file.write_text(config(known["api_url"], known["websocket_url"]))
        _aws("s3", "cp", str(file), f"{bucket}/config.js", "--cache-control", _REVALIDATE)
    others = ("--exclude", "assets/*", "--exclude", "config.js")
    _aws("s3", "sync", str(DIST), bucket, *others, "--cache-control", _REVALIDATE)
    distribution = ("--distribution-id", known["dashboard_distribution_id"])
    _aws("cloudfront", "create-invalidation", *distribution, "--paths", "/*", "--output", "text")


def _aws(*arguments: str) -> None:
    command = ["aws", *arguments]
    if code := subprocess.run(command, check=False).returncode:
        raise StepFailed(f"{' '.join(command)} exited with {code}; see its output above")
