"""The bills of materials list every pinned package with name, version and hash, and are reproducible."""

import json
import re

import pytest

from scripts.build import sbom
from scripts.build.package import names, requirements_of
from scripts.build.tools import ROOT

pytestmark = pytest.mark.servers  # cyclonedx-py and npm

PINNED = re.compile(r"^([a-z0-9-]+(?:\[[a-z0-9,-]+\])?)==(\S+)", re.MULTILINE)


@pytest.mark.parametrize("traces", [False, True])
@pytest.mark.parametrize("name", names())
def test_the_bill_of_a_zip_lists_every_pinned_package(name, traces, tmp_path):
    file = sbom.write(name, tmp_path, traces=traces)
    bill = json.loads(file.read_text())
    pinned = PINNED.findall(requirements_of(name, traces=traces))

    assert (bill["bomFormat"], bill["specVersion"], bill["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "1.6",
        "helios",
    )
    assert sorted((component["name"], component["version"]) for component in bill["components"]) == sorted(
        (package.partition("[")[0], version) for package, version in pinned
    )
    assert pinned
    assert all(component["externalReferences"][0]["hashes"] for component in bill["components"])


def test_the_same_requirements_give_the_same_bytes(tmp_path):
    name = names()[0]

    assert sbom.write(name, tmp_path).read_bytes() == sbom.write(name, tmp_path).read_bytes()


def test_the_dashboards_bill_lists_its_runtime_packages_and_is_reproducible(tmp_path):
    manifest = json.loads((ROOT / "dashboard/package.json").read_text())
    first = sbom.write_dashboard(tmp_path).read_bytes()
    bill = json.loads(first)
    versions = {component["name"]: component["version"] for component in bill["components"]}

    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "helios-dashboard")
    assert manifest["dependencies"].items() <= versions.items()
    assert not {"eslint", "tailwindcss", "vite", "vitest"} & versions.keys()
    assert sbom.write_dashboard(tmp_path).read_bytes() == first
