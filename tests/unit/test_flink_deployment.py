"""The image of the job and its manifest agree with the locks and with the command, without a container engine."""

import re
from pathlib import Path

import pytest
import yaml

from helios.flink.__main__ import parser
from helios.settings import Settings, variable
from tests.support.api import ROOT

DOCKERFILE = (ROOT / "infra/flink/Dockerfile").read_text()
MANIFEST = yaml.safe_load((ROOT / "infra/flink/deployment.yaml").read_text())
FLINK = re.search(r"(?m)^apache-flink==(\S+)", (ROOT / "flink.lock").read_text())
assert FLINK
VERSION = FLINK[1]


def test_the_image_has_the_flink_of_the_lock_and_compares_the_connector():
    assert f"ARG FLINK_IMAGE=flink:{VERSION}-java17" in DOCKERFILE
    assert "sha256sum --check --strict ../jars.sha256" in DOCKERFILE


def test_the_image_has_jemalloc_under_the_name_that_the_entry_point_loads():
    """Debian's libjemalloc2 has libjemalloc.so.2 only; Flink's entry point preloads libjemalloc.so."""
    assert re.search(r"apt-get install .*\blibjemalloc-dev\b", DOCKERFILE)


SOURCES = [name for names in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", DOCKERFILE) for name in names.split()]


@pytest.mark.parametrize("source", SOURCES)
def test_the_image_copies_files_that_exist_and_are_in_the_context(source):
    assert (ROOT / source).exists()
    patterns = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{source}", f"!{source.split('/')[0]}"} & set(patterns)


def test_the_manifest_starts_the_command_with_options_that_it_has():
    job = MANIFEST["spec"]["job"]
    arguments = job["args"][job["args"].index("helios.flink") + 1 :]
    options = parser().parse_args(arguments)
    assert options.action == "run"
    assert options.parallelism == job["parallelism"] == MANIFEST["spec"]["taskManager"]["replicas"]
    assert Path(job["jarURI"]).name == f"flink-python-{VERSION}.jar"
    assert MANIFEST["spec"]["flinkVersion"] == f"v{'_'.join(VERSION.split('.')[:2])}"
    assert MANIFEST["spec"]["flinkConfiguration"]["taskmanager.numberOfTaskSlots"] == "1"


def test_the_manifest_sets_settings_that_exist():
    (container,) = MANIFEST["spec"]["podTemplate"]["spec"]["containers"]
    names = {each["name"] for each in container["env"] if each["name"].startswith("HELIOS_")}
    assert names
    assert names <= {variable(field) for field in Settings.__struct_fields__}
