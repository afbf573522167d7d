"""How long a function's modules take to import, with and without bytecode: Helios' part of a cold start."""

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from py_compile import PycInvalidationMode

from local.stack.config import REPOSITORY
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers
from scripts.build.package import NATIVE, functions

ENTRY = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import handler
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
REPEATS = 7
REPEATS_WITHOUT = 3
"""Fewer repetitions, because to compile all modules takes seconds and is only a baseline."""

LAMBDA_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
"""Packages of Lambda's runtime, which the function's package omits."""


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Milliseconds in a new interpreter with only the function's package and the packages of the runtime."""
    names = ["aws-ingest"] if quick else [name for name in functions() if name.startswith("aws-")]
    subprocess.run(
        [sys.executable, "-m", "scripts.build.package", "--native", *names],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    return [
        Table(
            title="Import of a function's package in a new process, ms",
            columns=("function", "with bytecode", "CPU", "without bytecode", "CPU", "package has"),
            rows=[_row(NATIVE / f"{name}.zip", running) for name in names],
            goal="goal: ingest below 400, in the form of its package",
        )
    ]


def _row(package: Path, running: Servers) -> tuple[str, float, float, float, float, str]:
    """The times of one package with and without bytecode, and which of the two the package has."""
    with tempfile.TemporaryDirectory(prefix="helios-bench-") as name:
        compiled, plain, runtime = Path(name, "compiled"), Path(name, "plain"), Path(name, "runtime")
        for folder in (compiled, plain):
            with zipfile.ZipFile(package) as archive:
                archive.extractall(folder)
        packed = "bytecode" if next(plain.rglob("*.pyc"), None) else "source only"
        for cache in list(plain.rglob("__pycache__")):
            shutil.rmtree(cache)
        compileall.compile_dir(compiled, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        _lay_out(runtime)
        with_it = _median([_milliseconds(compiled, runtime, running) for _ in range(REPEATS)])
        without = _median([_milliseconds(plain, runtime, running) for _ in range(REPEATS_WITHOUT)])
    return package.stem, *with_it, *without, packed


def _median(times: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return median([wall for wall, _ in times]), median([cpu for _, cpu in times])


def _lay_out(runtime: Path) -> None:
    """Fill a folder with the packages of the cloud's runtime."""
    runtime.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    for name in LAMBDA_RUNTIME:
        (runtime / name).symlink_to(installed / name)


def _milliseconds(folder: Path, runtime: Path, running: Servers) -> tuple[float, float]:
    """Elapsed time and CPU time; on a busy machine the CPU time is close to what an idle one would take."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{folder}{os.pathsep}{runtime}",
        "PYTHONDONTWRITEBYTECODE": "1",  # as on Lambda, where the code's folder is read-only
        "HELIOS_DATABASE_URL": running.database_url,
        "HELIOS_REDIS_URL": running.redis_url,
        "HELIOS_WEBSOCKET_ENDPOINT": "https://example.execute-api.eu-central-1.amazonaws.com/live",
        "HELIOS_WEBHOOK_AUTH": "eventbridge=key",
        "HELIOS_EVENTBRIDGE_SECRET": "unused-and-long-enough",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    ran = subprocess.run(
        [sys.executable, "-S", "-c", ENTRY], env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise RuntimeError(f"{folder.name} can't be imported:\n{ran.stderr[-2000:]}")
    wall, cpu = ran.stdout.splitlines()[-1].split()
    return float(wall) * 1e3, float(cpu) * 1e3
