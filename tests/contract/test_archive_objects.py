"""Every kind of object store behaves the same: a folder, S3 and Google Cloud Storage."""

import hashlib

import pytest

from helios.adapters.archive.objects import Objects, open_store
from helios.errors import ConfigurationError, Retryable
from tests.fixtures.objects import BUCKET

PATH = "source=aws/day=2025-11-01/file.parquet"


def test_a_file_comes_back_byte_for_byte(any_objects, tmp_path):
    content = bytes(range(256)) * 40_000
    (tmp_path / "file").write_bytes(content)

    any_objects.put(PATH, tmp_path / "file")

    assert any_objects.fetch(PATH, tmp_path / "copy") == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "copy").read_bytes() == content
    assert any_objects.paths() == {PATH}


def test_a_file_that_does_not_exist_is_none_and_deleting_it_does_nothing(any_objects, tmp_path):
    assert any_objects.fetch(PATH, tmp_path / "copy") is None
    any_objects.delete(PATH)
    assert any_objects.paths() == set()


def test_a_deleted_file_is_gone(any_objects, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    any_objects.put(PATH, tmp_path / "file")

    any_objects.delete(PATH)

    assert any_objects.fetch(PATH, tmp_path / "copy") is None
    assert any_objects.paths() == set()


def test_an_unknown_scheme_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match=r"HELIOS_ARCHIVE_URL: ftp:// is not one of file, s3, gs, az"):
        open_store("ftp://host/archive")


def test_a_folder_that_can_not_be_written_is_retryable(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    objects = Objects(open_store(f"file://{tmp_path}/archive"))
    (tmp_path / "archive" / "source=aws").write_bytes(b"a file in the place of a folder")

    with pytest.raises(Retryable, match="Archive: "):
        objects.put(PATH, tmp_path / "file")


def test_credentials_need_not_be_in_the_environment(s3_server, tmp_path):
    """A function has credentials of its own there, which are those of another account."""
    (tmp_path / "file").write_bytes(b"content")
    url = f"s3://{BUCKET}/{tmp_path.name}"

    credentials = {name: value for name, value in s3_server.environment.items() if name != "AWS_ALLOW_HTTP"}
    objects = Objects(open_store(url, credentials=credentials, request_seconds=10))

    objects.put(PATH, tmp_path / "file")
    assert objects.paths() == {PATH}


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("az://container/prefix", {"AZURE_STORAGE_ACCOUNT_NAME": "shop", "AZURE_STORAGE_SAS_TOKEN": "sv=2026&sig=x"}),
        ("az://container/prefix", {"AZURE_STORAGE_ACCOUNT_NAME": "shop", "AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}),
        ("s3://bucket/prefix", {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"}),
    ],
)
def test_the_names_of_credentials_are_those_of_the_environment(url, credentials):
    open_store(url, credentials=credentials)

    with pytest.raises(ConfigurationError, match="'nothing'"):
        open_store(url, credentials={"NOTHING": "x"})
