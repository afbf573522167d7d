"""Packages are the same bytes every time, whole, and carry no cloud's SDK."""

import hashlib
import subprocess
import sys
import zipfile

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


@pytest.mark.parametrize("name", ["aws-api", "aws-ingest"])
def test_an_unpacked_package_needs_nothing_else(name, tmp_path):
    """It is imported by an interpreter that has no site-packages."""
    with zipfile.ZipFile(package.build(name, native=True).path) as archive:
        archive.extractall(tmp_path)
    script = "import sys; sys.path.insert(0, sys.argv[1]); import handler; assert callable(handler.handler)"
    environment = {"HELIOS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "AWS_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script, str(tmp_path)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["aws-api", "aws-ingest"])
def test_a_package_for_the_cloud_fits_and_carries_no_sdk(name):
    built = package.build(name, native=False)
    with zipfile.ZipFile(built.path) as archive:
        tops = {entry.split("/")[0] for entry in archive.namelist()}
        libraries = [entry for entry in archive.namelist() if ".cpython-" in entry]
    assert not tops & SDKS
    assert all("cpython-311-x86_64-linux-gnu" in library for library in libraries)
    assert built.zipped < package.MAX_ZIPPED
    assert built.unzipped < package.MAX_UNZIPPED


def test_an_unknown_function_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        package.main(["aws-nothing"])
    assert "no such function: aws-nothing; there are aws-api" in capsys.readouterr().err
