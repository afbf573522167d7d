"""Packages are the same bytes every time, whole, and carry no cloud's SDK."""

import hashlib
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path, PurePosixPath

import pytest

from scripts.build import package
from scripts.build.layouts import LAYOUTS, layout_of

SDKS = {"boto3", "botocore", "google", "azure"}
OWN = {"azure": "azure/functions"}
"""What a cloud's own worker asks of a function, and no SDK of its services."""

ELF_AARCH64 = 183
"""What an ELF file's header calls the processor (e_machine)."""

ON_AWS = [name for name in package.functions() if name.startswith("aws-")]
VENDORED = [name for name in package.functions() if layout_of(name).vendored]

ONE_OF_EACH_CLOUD = ("aws-ingest", "azure", "gcp")


def built_for_clouds(names):
    """One function of each cloud; the others, which are built in the same way, only where there is time."""
    return [name if name in ONE_OF_EACH_CLOUD else pytest.param(name, marks=pytest.mark.slow) for name in names]


def inputs_and_bytes(built):
    """Digests of what a package was made of and of what it became."""
    return built.path.with_suffix(".inputs").read_text(), hashlib.sha256(built.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", built_for_clouds(package.functions()))
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


STORES = {"HELIOS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "HELIOS_REDIS_URL": "redis://127.0.0.1:1/0"}
LAMBDA = STORES | {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "HELIOS_RELAY_QUEUE_URL": "http://127.0.0.1:1/000000000000/helios-relay",
    "HELIOS_WEBSOCKET_ENDPOINT": "http://127.0.0.1:1/live",
    "HELIOS_WEBHOOK_AUTH": "closed",
}
ELSEWHERE = STORES | {
    "HELIOS_NOTIFY_URL": "http://127.0.0.1:1/api/v1/relay/notify",
    "HELIOS_NOTIFY_SECRET": "shown-to-whoever-rings",
}


def unpacked(name, folder):
    with zipfile.ZipFile(package.build(name, native=True).path) as archive:
        archive.extractall(folder)
    return folder


def holds(claim, environment, *paths):
    """Whether a claim holds for an interpreter without site-packages, which sees these folders only."""
    script = f"import sys; sys.path[:0] = sys.argv[1:]; {claim}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script, *map(str, paths)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return True


@pytest.mark.parametrize("name", ON_AWS)
def test_an_unpacked_package_for_aws_needs_the_runtime_and_nothing_else(name, tmp_path, runtime):
    task = unpacked(name, tmp_path / "task")
    assert holds("import handler; assert callable(handler.handler)", LAMBDA, task, runtime)


@pytest.mark.parametrize("name", ON_AWS)
def test_a_package_for_aws_holds_what_its_functions_share(name, tmp_path, runtime):
    task = unpacked(name, tmp_path / "task")
    claim = "from functions.aws import _common; assert callable(_common.powertools_logger)"
    assert holds(claim, LAMBDA, task, runtime)
    assert {path.name for path in (task / "functions" / "aws").glob("*.py")} == {"__init__.py", "_common.py"}


def test_an_unpacked_package_for_azure_needs_nothing_else(tmp_path):
    """The worker puts .python_packages on the path, and the folder of host.json before it."""
    task = unpacked("azure", tmp_path / "task")
    claim = "import function_app; assert len(function_app.app.get_functions()) == 2"
    assert holds(claim, ELSEWHERE, task, task / LAYOUTS["azure"].packages)
    assert (task / "host.json").is_file()


def test_an_unpacked_package_for_gcp_needs_its_requirements_and_nothing_else(tmp_path):
    """They are installed as Cloud Build does it: from the zip's own requirements.txt, by their hashes."""
    task, site = unpacked("gcp", tmp_path / "task"), tmp_path / "site"
    uv = Path(sys.executable).with_name("uv")
    requirements = ["--require-hashes", "--no-deps", "--requirement", task / "requirements.txt"]
    subprocess.run([uv, "pip", "install", "--quiet", "--target", site, *requirements], check=True, timeout=120)
    assert holds("import main; assert callable(main.ingest)", ELSEWHERE, task, site)


@pytest.mark.parametrize("name", VENDORED)
def test_every_module_of_a_package_has_its_bytecode(name):
    """A cold start has no folder to write it to, and takes three times as long without."""
    with zipfile.ZipFile(package.build(name, native=True).path) as archive:
        entries = set(archive.namelist())
    modules = [PurePosixPath(entry) for entry in entries if entry.endswith(".py")]
    cached = {str(one.parent / f"__pycache__/{one.stem}.{sys.implementation.cache_tag}.pyc") for one in modules}
    assert cached - entries == set()


@pytest.mark.parametrize("name", built_for_clouds(package.functions()))
def test_a_package_for_the_cloud_fits_and_carries_no_sdk(name):
    built = package.build(name, native=False)
    with zipfile.ZipFile(built.path) as archive:
        entries = archive.namelist()
    packages = [entry.removeprefix(f"{built.layout.packages}/") for entry in entries]
    own = OWN.get(name, " ")
    foreign = {entry for entry in packages if entry.split("/")[0] in SDKS and not entry.startswith(own)}
    assert foreign == set()
    libraries = [entry for entry in entries if ".cpython-" in entry and entry.endswith(".so")]
    assert all("cpython-311-x86_64-linux-gnu" in library for library in libraries)
    assert built.fits


@pytest.mark.parametrize("name", built_for_clouds(ON_AWS))
def test_a_package_for_lambda_s_arm64_fits_it(name):
    """Every compiled module is of that processor, and of the Python whose Amazon Linux is new enough for it."""
    built = package.build(name, native=False, architecture="arm64")
    assert built.path.parent.name == "arm64"
    with zipfile.ZipFile(built.path) as archive:
        libraries = [entry for entry in archive.namelist() if entry.endswith(".so")]
        machines = {int.from_bytes(archive.read(entry)[18:20], "little") for entry in libraries}
    assert machines == {ELF_AARCH64}
    assert {"cpython-312-aarch64-linux-gnu.so", "abi3.so"} >= {entry.partition(".")[2] for entry in libraries}
    assert built.fits


def test_a_package_that_its_cloud_would_refuse_does_not_fit():
    built = package.build("gcp", native=False)
    assert not built._replace(zipped=built.layout.max_zipped + 1).fits
    assert not built._replace(unzipped=built.layout.max_unzipped + 1).fits


def test_an_unknown_function_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        package.main(["aws-nothing"])
    assert "no such function: aws-nothing; known functions: aws-api" in capsys.readouterr().err
