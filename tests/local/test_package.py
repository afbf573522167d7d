"""Packages are reproducible and complete, and contain no SDK of a cloud."""

import hashlib
import json
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path, PurePosixPath

import pytest

from scripts.build import package
from scripts.build.layouts import LAYOUTS, layout_of
from tests.support.deliveries import eventbridge
from tests.support.envelopes import sqs_event

SDKS = {"boto3", "botocore", "google", "azure"}
OWN = {"azure": "azure/functions"}
"""The library of a cloud's worker that a function needs; it is not an SDK of the cloud's services."""

ELF_AARCH64 = 183
"""The number of the processor in the header of an ELF file (e_machine)."""

ON_AWS = [name for name in package.functions() if name.startswith("aws-")]
VENDORED = [name for name in package.names() if layout_of(name).vendored]
LAYER = "aws-archive-layer"
READ_ARCHIVE = ("aws-api", "aws-replay", "aws-sweep")
"""The functions that open the archive with the first read that needs it."""

ONE_OF_EACH_CLOUD = ("aws-ingest", "azure", "gcp")


def built_for_clouds(names):
    """The names, with all but one function of each cloud marked as slow, since the others are built in the same way."""
    return [name if name in ONE_OF_EACH_CLOUD else pytest.param(name, marks=pytest.mark.slow) for name in names]


def digests(built):
    """Digests of a package's inputs and of its bytes."""
    return built.path.with_suffix(".inputs").read_text(), hashlib.sha256(built.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", built_for_clouds(package.names()))
def test_a_package_is_the_same_bytes_when_it_is_built_again(name):
    first = package.build(name, native=False)
    before = digests(first)
    first.path.with_suffix(".inputs").unlink()
    second = package.build(name, native=False)
    assert second.fresh
    assert digests(second) == before


def test_an_unchanged_package_is_not_built_again():
    package.build("aws-ingest", native=True)
    assert not package.build("aws-ingest", native=True).fresh


@pytest.fixture
def runtime(tmp_path):
    """A folder with the libraries of Lambda's Python runtime: boto3 and its dependencies."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3"):
        module = Path(import_module(name).__file__ or "")
        module = module.parent if module.name == "__init__.py" else module
        (folder / module.name).symlink_to(module)
    return folder


@pytest.fixture
def layer(tmp_path):
    """The folder of the archive's packages, as Lambda unpacks a layer."""
    return unpacked(LAYER, tmp_path / "opt") / "python"


@pytest.fixture
def lambda_python():
    """The Python of Lambda's runtime."""
    path = package.interpreter(package.LAMBDA_PYTHON)
    if path is None:
        pytest.skip(f"Python {package.LAMBDA_PYTHON} is not installed")
    return path


STORES = {"HELIOS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "HELIOS_REDIS_URL": "redis://127.0.0.1:1/0"}
LAMBDA = STORES | {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "HELIOS_RELAY_QUEUE_URL": "http://127.0.0.1:1/000000000000/helios-relay",
    "HELIOS_WEBSOCKET_ENDPOINT": "http://127.0.0.1:1/live",
    "HELIOS_ARCHIVE_URL": "s3://bucket/events",
    "HELIOS_WEBHOOK_AUTH": "closed",
}
ELSEWHERE = STORES | {
    "HELIOS_NOTIFY_URL": "http://127.0.0.1:1/api/v1/relay/notify",
    "HELIOS_NOTIFY_SECRET": "shown-with-each-notification",
}

CONFIGURED = """
from helios import bootstrap
from helios.errors import ConfigurationError
from helios.settings import Settings
try:
    bootstrap.build(Settings(database_url="postgresql://nowhere", otlp_url="http://collector"))
except ConfigurationError as error:
    assert "helios[otel]" in str(error)
else:
    raise AssertionError
"""
"""A process of a package without the messages of OpenTelemetry says what it needs."""


OPEN_ARCHIVE = """
import handler
assert not {"duckdb", "obstore"} & sys.modules.keys()
handler.services.reader._archive._reader()
assert {"duckdb", "obstore"} <= sys.modules.keys()
"""
"""Opens the archive as the first read of an archived event does, and not before."""

NO_PACKAGES = """
import handler
from helios.errors import Retryable
try:
    handler.services.reader._archive._reader()
except Retryable as error:
    assert "requires the packages of the archive" in str(error)
else:
    raise AssertionError
"""

INVOKE = """
import sys; sys.path[:0] = sys.argv[1:]
import json, handler
class Context:
    function_name = aws_request_id = invoked_function_arn = "helios-ingest"
    memory_limit_in_mb = 256
assert handler.handler(json.load(sys.stdin), Context()) == {"batchItemFailures": []}
"""
"""Calls the function in the working folder with the event on standard input, without site-packages."""


def unpacked(name, folder, *, native=True):
    with zipfile.ZipFile(package.build(name, native=native).path) as archive:
        archive.extractall(folder)
    return folder


def holds(claim, environment, *paths, python=sys.executable):
    """Whether a claim holds in an interpreter without site-packages, which imports from these folders only."""
    script = f"import sys; sys.path[:0] = sys.argv[1:]; {claim}"
    done = subprocess.run(
        [python, "-I", "-S", "-B", "-c", script, *map(str, paths)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return True


@pytest.mark.parametrize("traces", [False, True])
def test_a_package_sends_spans_only_if_it_is_built_for_traces(tmp_path, runtime, traces):
    folder = package.functions()["aws-ingest"]
    requirements = package.requirements_of("aws-ingest", traces=traces)
    package._collect(folder, requirements, tmp_path / "task", layout_of("aws-ingest"), None)
    claim = "from helios.adapters.otlp import OtlpTracer"
    if not traces:
        claim = f"import importlib.util\nassert importlib.util.find_spec('opentelemetry') is None\n{CONFIGURED}"
    assert holds(claim, LAMBDA, tmp_path / "task", runtime)


@pytest.mark.parametrize("name", ON_AWS)
def test_an_unpacked_package_for_aws_needs_the_runtime_and_nothing_else(name, tmp_path, runtime, layer):
    """The function that fills the archive needs the layer too; the others import none of its packages to start."""
    task = unpacked(name, tmp_path / "task")
    layers = [layer] if name == "aws-archive" else []
    assert holds("import handler; assert callable(handler.handler)", LAMBDA, task, *layers, runtime)


@pytest.mark.parametrize("name", READ_ARCHIVE)
def test_a_function_with_the_layer_opens_the_archive(name, tmp_path, runtime, layer):
    task = unpacked(name, tmp_path / "task")
    assert holds(OPEN_ARCHIVE, LAMBDA | {"HOME": "/nonexistent"}, task, layer, runtime)


def test_a_function_without_the_layer_says_what_is_missing(tmp_path, runtime):
    task = unpacked("aws-sweep", tmp_path / "task")
    assert holds(NO_PACKAGES, LAMBDA, task, runtime)


@pytest.mark.parametrize("name", built_for_clouds(ON_AWS))
def test_a_package_for_the_cloud_runs_on_lambda_s_python_from_its_bytecode(name, tmp_path, runtime, lambda_python):
    task = unpacked(name, tmp_path / "task", native=False)
    layers = [unpacked(LAYER, tmp_path / "opt", native=False) / "python"] if name == "aws-archive" else []
    claim = (
        "import os, handler, helios.errors as module; assert callable(handler.handler); "
        "assert module.__cached__.endswith('cpython-313.pyc') and os.path.exists(module.__cached__)"
    )
    assert holds(claim, LAMBDA, task, *layers, runtime, python=lambda_python)


def test_terraform_has_the_runtime_that_packages_are_built_for():
    text = (package.ROOT / "infra/terraform/aws/variables.tf").read_text()
    assert f'default     = "python{package.LAMBDA_PYTHON}"' in text


@pytest.mark.parametrize("name", ON_AWS)
def test_a_package_for_aws_has_the_module_that_its_functions_share(name, tmp_path, runtime):
    task = unpacked(name, tmp_path / "task")
    claim = "from functions.aws import _common; assert callable(_common.powertools_logger)"
    assert holds(claim, LAMBDA, task, runtime)
    assert {path.name for path in (task / "functions" / "aws").glob("*.py")} == {"__init__.py", "_common.py"}


def test_an_unpacked_package_for_azure_needs_nothing_else(tmp_path):
    """The worker adds .python_packages to the path, after the folder of host.json."""
    task = unpacked("azure", tmp_path / "task")
    claim = "import function_app; assert len(function_app.app.get_functions()) == 3"
    assert holds(claim, ELSEWHERE, task, task / LAYOUTS["azure"].packages)
    assert (task / "host.json").is_file()


def test_an_unpacked_package_for_gcp_needs_its_requirements_and_nothing_else(tmp_path):
    """They are installed as Cloud Build does: from the zip's requirements.txt, with hashes."""
    task, site = unpacked("gcp", tmp_path / "task"), tmp_path / "site"
    uv = Path(sys.executable).with_name("uv")
    requirements = ["--require-hashes", "--no-deps", "--requirement", task / "requirements.txt"]
    subprocess.run([uv, "pip", "install", "--quiet", "--target", site, *requirements], check=True, timeout=120)
    assert holds("import main; assert callable(main.ingest)", ELSEWHERE, task, site)


FLOWS = """
[[flow]]
name = "parcel"
key = "order_id"
window_seconds = 30
grace_seconds = 60

[[flow.leg]]
name = "picked"
type = "OrderPlaced"
source = "aws"

[[flow.leg]]
name = "packed"
type = "Packed"
source = "warehouse"
"""

SOURCES = """
[[source]]
name = "warehouse"
proof = { scheme = "hmac", header = "x-signature" }
id = "id"
type = "type"
"""


@pytest.fixture
def declared(tmp_path):
    """A user's own declarations."""
    flows, sources = tmp_path / "my-flows.toml", tmp_path / "my-sources.toml"
    flows.write_text(FLOWS)
    sources.write_text(SOURCES)
    return package.declarations(flows, sources)


@pytest.mark.servers
def test_a_function_uses_the_declarations_in_its_package(tmp_path, monkeypatch, declared, pool, database_url, runtime):
    monkeypatch.setattr(package, "NATIVE", tmp_path / "build")
    built = package.build("aws-ingest", native=True, declared=declared)
    assert not package.build("aws-ingest", native=True, declared=declared).fresh
    with zipfile.ZipFile(built.path) as archive:
        archive.extractall(tmp_path / "task")
    event = sqs_event(eventbridge("1").body)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", INVOKE, tmp_path / "task", runtime],
        env=LAMBDA
        | {
            "HELIOS_DATABASE_URL": database_url,
            "HELIOS_FLOWS_FILE": "flows.toml",
            "HELIOS_SOURCES_FILE": "sources.toml",
            "POWERTOOLS_METRICS_NAMESPACE": "Helios",
        },
        cwd=tmp_path / "task",
        input=json.dumps(event).encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    with pool.connection() as connection:
        assert connection.execute("SELECT flow, key FROM flow_instances").fetchall() == [("parcel", "ORD-1")]


@pytest.mark.parametrize("name", ONE_OF_EACH_CLOUD)
def test_terraform_names_the_place_of_the_declarations(name):
    """The folder into which the cloud unpacks the package."""
    cloud = name.partition("-")[0]
    text = (package.ROOT / f"infra/terraform/{cloud}/main.tf").read_text()
    assert layout_of(name).runs_in in text
    assert "flows.toml" in text


def test_a_wrong_declaration_stops_the_build(tmp_path, capsys):
    flows = tmp_path / "flows.toml"
    flows.write_text(FLOWS)  # names a source that is not declared
    assert package.main(["--flows", str(flows), "gcp"]) == 1
    assert "flows.toml, line 16: flow[0].leg[1].source" in capsys.readouterr().err


def test_a_receiver_that_needs_what_the_packages_lack_stops_the_build(tmp_path, capsys):
    file = tmp_path / "notifications.toml"
    file.write_text('[[receiver]]\nname = "oncall"\nkind = "pagerduty"\n')
    assert package.main(["--notifications", str(file), "aws-sweep"]) == 1
    assert "the receiver oncall is of the kind pagerduty, which needs Apprise" in capsys.readouterr().err

    file.write_text('[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "https://hooks.example.com/helios"\n')
    assert package.declarations(notifications=file) == {"notifications.toml": file}


@pytest.mark.parametrize("name", VENDORED)
def test_every_module_of_a_package_has_its_bytecode(name):
    """A cold start has no folder to write bytecode to, and takes three times as long without it."""
    with zipfile.ZipFile(package.build(name, native=True).path) as archive:
        entries = set(archive.namelist())
    modules = [PurePosixPath(entry) for entry in entries if entry.endswith(".py")]
    cached = {str(path.parent / f"__pycache__/{path.stem}.{sys.implementation.cache_tag}.pyc") for path in modules}
    assert cached - entries == set()


@pytest.mark.parametrize("name", built_for_clouds(package.names()))
def test_a_package_for_the_cloud_is_within_the_limits_and_has_no_sdk(name):
    built = package.build(name, native=False)
    with zipfile.ZipFile(built.path) as archive:
        entries = archive.namelist()
    packages = [entry.removeprefix(f"{built.layout.packages}/") for entry in entries]
    own = OWN.get(name, " ")
    foreign = {entry for entry in packages if entry.split("/")[0] in SDKS and not entry.startswith(own)}
    assert foreign == set()
    libraries = [entry for entry in entries if ".cpython-" in entry and entry.endswith(".so")]
    tag = f"cpython-{package.target_of(name, 'x86_64').python.replace('.', '')}"
    assert all(f"{tag}-x86_64-linux-gnu" in library for library in libraries)
    assert built.fits


@pytest.mark.parametrize("name", built_for_clouds([*ON_AWS, LAYER]))
def test_a_package_for_arm64_has_only_libraries_for_arm64(name):
    """Each compiled module is for that processor and for Lambda's Python."""
    built = package.build(name, native=False, architecture="arm64")
    assert built.path.parent.name == "arm64"
    with zipfile.ZipFile(built.path) as archive:
        libraries = [entry for entry in archive.namelist() if entry.endswith(".so")]
        machines = {int.from_bytes(archive.read(entry)[18:20], "little") for entry in libraries}
    assert machines == {ELF_AARCH64}
    assert {"cpython-313-aarch64-linux-gnu.so", "abi3.so"} >= {entry.partition(".")[2] for entry in libraries}
    assert built.fits


@pytest.mark.parametrize("name", built_for_clouds(["aws-archive", *READ_ARCHIVE]))
def test_a_function_and_the_layer_are_within_the_limit_of_both(name):
    """Lambda's limit of what is unpacked is that of a function with its layers."""
    built = [package.build(each, native=False) for each in (name, LAYER)]
    assert sum(each.unzipped for each in built) <= built[0].layout.max_unzipped


def test_a_package_over_the_limits_of_its_cloud_does_not_fit():
    built = package.build("gcp", native=False)
    assert not built._replace(zipped=built.layout.max_zipped + 1).fits
    assert not built._replace(unzipped=built.layout.max_unzipped + 1).fits


def test_the_error_for_an_unknown_function_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        package.main(["aws-nothing"])
    assert "no such package: aws-nothing; known packages: aws-api" in capsys.readouterr().err
