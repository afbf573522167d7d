"""Packages are the same bytes every time, whole, and carry no cloud's SDK."""

import hashlib
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path, PurePosixPath

import pytest

from scripts import package

SDKS = {"boto3", "botocore", "google", "azure"}


def inputs_and_bytes(built):
    """Digests of what a package was made of and of what it became."""
    return built.path.with_suffix(".inputs").read_text(), hashlib.sha256(built.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["aws-api", "aws-ingest"])
def test_a_package_is_the_same_bytes_when_it_is_built_again(name):
    before = inputs_and_bytes(first := package.build(name, native=False))
    first.path.with_suffix(".inputs").unlink()
    again = package.build(name, native=False)
    assert again.fresh
    assert inputs_and_bytes(again) == before


def test_an_unchanged_package_is_not_built_again():
    package.build("aws-ingest", native=True)
    assert not package.build("aws-ingest", native=True).fresh


@pytest.fixture
def runtime(tmp_path):
    """What Lambda's own Python brings: boto3 and what that needs."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3"):
        module = Path(import_module(name).__file__ or "")
        module = module.parent if module.name == "__init__.py" else module
        (folder / module.name).symlink_to(module)
    return folder


@pytest.mark.parametrize("name", package.functions())
def test_an_unpacked_package_needs_nothing_else(name, tmp_path, runtime):
    """It is imported by an interpreter that has no site-packages, from a folder that it can't write to."""
    with zipfile.ZipFile(package.build(name, native=True).path) as archive:
        archive.extractall(tmp_path / "task")
    script = "import sys; sys.path[:0] = sys.argv[1:]; import handler; assert callable(handler.handler)"
    environment = {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HELIOS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "HELIOS_REDIS_URL": "redis://127.0.0.1:1/0",
        "HELIOS_RELAY_QUEUE_URL": "http://127.0.0.1:1/000000000000/helios-relay",
        "HELIOS_WEBSOCKET_ENDPOINT": "http://127.0.0.1:1/live",
        "HELIOS_GUARDS": "eventbridge=key",
        "HELIOS_EVENTBRIDGE_SECRET": "unused",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script, str(tmp_path / "task"), str(runtime)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", package.functions())
def test_every_module_of_a_package_has_its_bytecode(name):
    """A cold start has no folder to write it to, and takes three times as long without."""
    with zipfile.ZipFile(package.build(name, native=True).path) as archive:
        entries = set(archive.namelist())
    modules = [PurePosixPath(entry) for entry in entries if entry.endswith(".py")]
    cached = {str(one.parent / f"__pycache__/{one.stem}.{sys.implementation.cache_tag}.pyc") for one in modules}
    assert cached - entries == set()


@pytest.mark.parametrize("name", package.functions())
def test_a_package_for_the_cloud_fits_and_carries_no_sdk(name):
    built = package.build(name, native=False)
    with zipfile.ZipFile(built.path) as archive:
        tops = {entry.split("/")[0] for entry in archive.namelist()}
        libraries = [entry for entry in archive.namelist() if ".cpython-" in entry]
    assert not tops & SDKS
    assert all("cpython-311-x86_64-linux-gnu" in library for library in libraries if library.endswith(".so"))
    assert built.zipped < package.MAX_ZIPPED
    assert built.unzipped < package.MAX_UNZIPPED


def test_an_unknown_function_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        package.main(["aws-nothing"])
    assert "no such function: aws-nothing; there are aws-api" in capsys.readouterr().err
