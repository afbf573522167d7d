"""The audit reports every locked package that an installer would accept with another content."""

import json
import subprocess

import pytest

from scripts.build import audit

pytestmark = pytest.mark.servers  # git

HASH = f"--hash=sha256:{'0' * 64}"
INTEGRITY = f"sha512-{'A' * 86}=="


@pytest.fixture
def repository(tmp_path):
    """Tracks lock files, and returns the findings in them."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    def findings(**files: str) -> list[str]:
        for name, text in files.items():
            path = tmp_path / ".".join(name.rsplit("_", 1))
            path.write_text(text)
            subprocess.run(["git", "-C", tmp_path, "add", path], check=True)
        return list(audit.unpinned_packages(tmp_path))

    return findings


def npm(**package: object) -> str:
    return json.dumps({"packages": {"": {"version": "1"}, "node_modules/left": {"version": "1"} | package}})


def test_every_locked_package_of_the_repository_has_a_hash_and_names_no_registry():
    """This includes the binaries for other systems, which the build runs there."""
    assert list(audit.unpinned_packages()) == []


@pytest.mark.parametrize(
    ("package", "reports"),
    [
        ({"integrity": INTEGRITY}, []),
        ({}, ["node_modules/left has no SHA-512"]),
        ({"optional": True, "os": ["darwin"]}, ["node_modules/left has no SHA-512"]),
        ({"integrity": ""}, ["node_modules/left has no SHA-512"]),
        (
            {"integrity": "sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
            ["node_modules/left has no SHA-512"],
        ),
        ({"integrity": INTEGRITY, "resolved": "https://npm.example/l.tgz"}, ["node_modules/left names a registry"]),
        ({"link": True}, []),
    ],
)
def test_a_package_of_the_dashboard_needs_a_hash(repository, package, reports):
    found = repository(**{"package-lock_json": npm(**package)})
    assert found == [f"package-lock.json: {report}" for report in reports]


@pytest.mark.parametrize(
    ("text", "reports"),
    [
        (f"left==1 \\\n    {HASH} \\\n    {HASH}\n", []),
        (f"left==1 ; python_version < '3.12' \\\n    {HASH}\n# a comment\n", []),
        (f"right==2 \\\n    {HASH}\nleft==1\n", ["left==1 has no exact version with a SHA-256"]),
        (f"left>=1 \\\n    {HASH}\n", ["left>=1 has no exact version with a SHA-256"]),
        ("left==1 --hash=sha256:00\n", ["left==1 has no exact version with a SHA-256"]),
        ("left==1 --hash=md5:00\n", ["left==1 has no exact version with a SHA-256"]),
        ("--index-url https://pypi.example\n", ["names a registry, a URL or another file"]),
        ("--extra-index-url https://pypi.example\n", ["names a registry, a URL or another file"]),
        ("-r other.txt\n", ["names a registry, a URL or another file"]),
        (f"left @ https://pypi.example/left.whl {HASH}\n", ["names a registry, a URL or another file"]),
    ],
)
@pytest.mark.parametrize("name", ["requirements_txt", "requirements_lock"])
def test_a_python_package_needs_an_exact_version_and_a_hash(repository, name, text, reports):
    found = repository(**{name: text})

    assert len(found) == len(reports)
    assert all(report in finding for report, finding in zip(reports, found, strict=True))


def test_a_repository_without_lock_files_is_an_error(repository):
    with pytest.raises(FileNotFoundError, match="git lists no lock files"):
        repository(other_txt="left==1")
