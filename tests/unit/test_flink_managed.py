"""The job on Amazon Managed Service for Apache Flink: its settings, its package, and the module that runs it."""

import json
import re
import zipfile

import pytest

from helios import settings
from helios.errors import ConfigurationError
from helios.flink.managed import client_properties, properties_in, variables
from scripts.build import flink_package
from tests.support.api import ROOT

MODULE = (ROOT / "infra/terraform/modules/aws/flink/main.tf").read_text()
PROPERTIES = [
    {"PropertyGroupId": "kinesis.analytics.flink.run.options", "PropertyMap": {"python": "main.py"}},
    {
        "PropertyGroupId": "helios",
        "PropertyMap": {
            "HELIOS_LOG_BROKERS": "b-1:9096",
            "HELIOS_RETENTION": "",
            "LOG_SECRET_ARN": "arn:secret",
        },
    },
]


def test_the_settings_come_from_the_file_of_the_service_and_from_the_package(tmp_path):
    (tmp_path / "flows.toml").touch()
    loaded = settings.load(variables(properties_in(json.dumps(PROPERTIES)), tmp_path))

    assert (loaded.engine, loaded.log_brokers, loaded.retention) == ("flink", "b-1:9096", None)
    assert (loaded.flows_file, loaded.sources_file) == (str(tmp_path / "flows.toml"), None)


def test_an_application_without_the_secret_is_refused():
    with pytest.raises(ConfigurationError, match="LOG_SECRET_ARN"):
        properties_in(json.dumps(PROPERTIES[:1]))


def test_a_password_can_have_any_character():
    user = {"username": "helios", "password": 'a"b\\c'}
    assert client_properties(user)["sasl.jaas.config"].endswith(r'username="helios" password="a\"b\\c";')


def test_the_module_names_what_the_package_has(tmp_path):
    jar = tmp_path / "flink-sql-connector-kafka-5.0.0-2.2.jar"
    jar.write_bytes(b"jar")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/msgspec.py").touch()
    content = flink_package.files_of(jar, tmp_path / "packages", [("flows.toml", ROOT / "flink.in")])
    flink_package.write(content, tmp_path / "flink.zip")

    options = dict(re.findall(r'^ +(python|jarfile|pyFiles) += "(.+)"', MODULE, flags=re.MULTILINE))
    names = zipfile.ZipFile(tmp_path / "flink.zip").namelist()
    assert {options["python"], options["jarfile"], "flows.toml", "packages/helios/flink/managed.py"} <= set(names)
    assert f"{options['pyFiles']}/msgspec.py" in names
    assert (
        jar.name.removesuffix(".jar").removeprefix("flink-sql-connector-kafka-")
        in (ROOT / "local/servers/apache_flink/pom.xml").read_text()
    )


def test_the_module_sets_settings_that_exist():
    names = set(re.findall(r"^ +(HELIOS_\w+) +=", MODULE, flags=re.MULTILINE))
    assert names
    assert names <= {settings.variable(field) for field in settings.Settings.__struct_fields__}


def test_the_locks_have_the_packages_of_the_job():
    for lock, wanted in flink_package.LOCKED.items():
        text = flink_package.pinned((ROOT / lock).read_text(), wanted)
        assert len(re.findall(r"(?m)^\S+==", text)) == len(wanted)
        assert all("--hash=sha256:" in block for block in re.split(r"(?m)^(?=\S+==)", text) if block.strip())
    with pytest.raises(ValueError, match="no-such-package"):
        flink_package.pinned("", ["no-such-package"])
