"""How long a function's modules take to import: the part of a cold start that is ours."""

import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from local.config import REPOSITORY
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers

ENTRY = "import time; started = time.perf_counter(); import handler; print(time.perf_counter() - started)"
REPEATS = 7

BROUGHT_BY_LAMBDA = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
"""What Lambda's own runtime has, and no package of ours."""


def measure(running: Servers, *, quick: bool) -> list[Table]:  # noqa: ARG001 - it is quick
    """Milliseconds in a fresh interpreter that sees only the function's package and what the runtime brings."""
    subprocess.run(
        [sys.executable, "-m", "scripts.package", "--native"], cwd=REPOSITORY, check=True, capture_output=True
    )
    rows = []
    for package in sorted((REPOSITORY / "build" / "native").glob("aws-*.zip")):
        with tempfile.TemporaryDirectory(prefix="helios-bench-") as folder:
            with zipfile.ZipFile(package) as archive:
                archive.extractall(folder)
            rows.append((package.stem, _milliseconds(Path(folder), running)))
    return [
        Table(
            title="Import of a function's package in a new process, ms",
            columns=("function", "median"),
            rows=rows,
            goal="goal: ingest below 400",
        )
    ]


def _milliseconds(folder: Path, running: Servers) -> float:
    runtime = folder / "runtime"
    runtime.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    for name in BROUGHT_BY_LAMBDA:
        (runtime / name).symlink_to(installed / name)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{folder}{os.pathsep}{runtime}",
        "PYTHONDONTWRITEBYTECODE": "1",  # as on Lambda, where the code's folder can't be written
        "HELIOS_DATABASE_URL": running.database_url,
        "HELIOS_REDIS_URL": running.redis_url,
        "HELIOS_WEBSOCKET_ENDPOINT": "https://example.execute-api.eu-central-1.amazonaws.com/live",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    times = []
    for _ in range(REPEATS):
        ran = subprocess.run(
            [sys.executable, "-S", "-c", ENTRY], env=environment, capture_output=True, text=True, check=False
        )
        if ran.returncode != 0:
            raise RuntimeError(f"{folder.name} can't be imported:\n{ran.stderr[-2000:]}")
        times.append(float(ran.stdout.splitlines()[-1]) * 1e3)
    return median(times)
