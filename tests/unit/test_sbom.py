"""The bills of materials: all that is pinned, by name, version and hash, and the same bytes again."""

import json
import re

import pytest

from scripts.build import sbom
from scripts.build.package import functions
from scripts.build.tools import ROOT

pytestmark = pytest.mark.servers  # cyclonedx-py and npm

PINNED = re.compile(r"^([a-z0-9-]+(?:\[[a-z0-9,-]+\])?)==(\S+)", re.MULTILINE)


@pytest.mark.parametrize("name", functions())
def test_a_function_s_bill_has_all_that_is_pinned_for_it(name, tmp_path):
    folder = functions()[name]
    file = sbom.write(name, folder, tmp_path)
    bill = json.loads(file.read_text())
    pinned = PINNED.findall((folder / "requirements.txt").read_text())

    assert (bill["bomFormat"], bill["specVersion"], bill["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "1.6",
        "helios",
    )
    assert sorted((one["name"], one["version"]) for one in bill["components"]) == sorted(
        (package.partition("[")[0], version) for package, version in pinned
    )
    assert pinned
    assert all(one["externalReferences"][0]["hashes"] for one in bill["components"])


def test_the_same_requirements_give_the_same_bytes(tmp_path):
    name, folder = next(iter(functions().items()))

    assert sbom.write(name, folder, tmp_path).read_bytes() == sbom.write(name, folder, tmp_path).read_bytes()


def test_the_dashboard_s_bill_has_what_its_visitors_load_and_gives_the_same_bytes(tmp_path):
    wanted = json.loads((ROOT / "dashboard/package.json").read_text())
    first = sbom.write_dashboard(tmp_path).read_bytes()
    bill = json.loads(first)
    listed = {one["name"]: one["version"] for one in bill["components"]}

    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "helios-dashboard")
    assert wanted["dependencies"].items() <= listed.items()
    assert not {"eslint", "tailwindcss", "vite", "vitest"} & listed.keys()
    assert sbom.write_dashboard(tmp_path).read_bytes() == first
