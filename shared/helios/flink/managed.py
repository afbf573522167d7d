"""The job on Amazon Managed Service for Apache Flink.

The service itself sets checkpoints, parallelism and the way in which Python runs, and refuses an application that does.
It passes settings on in a file. The ``main.py`` of the package calls ``main``: see ``scripts.build.flink_package``.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from helios import settings as environment
from helios.errors import ConfigurationError
from helios.messages import topics
from helios.model import retention
from helios.reconciliation import declaration
from helios.sources import declaration as source_declaration

PROPERTIES = Path("/etc/flink/application_properties.json")
"""Where the service writes the application's groups of properties."""

GROUP = "helios"
"""The group with the settings of Helios, and with LOG_SECRET_ARN."""

SECRET = "LOG_SECRET_ARN"  # noqa: S105 - the name of a property


def main(package: Path) -> None:
    """Start the job.

    Args:
        package: the folder of the unpacked package, which may have flows.toml and sources.toml.

    Raises:
        ConfigurationError: a property is missing or wrong.
    """
    # Only the service has PyFlink, and the package boto3.
    from pyflink.datastream import StreamExecutionEnvironment

    from helios.adapters.aws import secret_variables
    from helios.flink.job import Log, build
    from helios.flink.operators import Declarations

    properties = properties_in(PROPERTIES.read_text(encoding="utf-8"))
    settings = environment.load(variables(properties, package))
    sources = source_declaration.load(settings.sources_file)
    flows = declaration.load(settings.flows_file, sources=sources)
    user = secret_variables(properties[SECRET])
    log = Log(settings.log_brokers or "", topics(settings.log_prefix), client_properties(user))
    flink = StreamExecutionEnvironment.get_execution_environment()
    horizon = retention.log_horizon(settings.retention)
    build(flink, log, Declarations(flows, sources, horizon, settings.flows_file or None))
    flink.execute(f"helios {settings.log_prefix}")


def properties_in(text: str) -> dict[str, str]:
    """The properties of Helios in the service's file.

    Raises:
        ConfigurationError: the group or LOG_SECRET_ARN is missing.
    """
    groups = {group["PropertyGroupId"]: group["PropertyMap"] for group in json.loads(text)}
    properties: dict[str, str] = groups.get(GROUP, {})
    if not properties.get(SECRET):
        raise ConfigurationError(f"The application has no property {SECRET} in the group {GROUP!r}.")
    return properties


def variables(properties: Mapping[str, str], package: Path) -> dict[str, str]:
    """The settings of the job as environment variables, with the declarations of the package."""
    files = {
        name: package / f"{name.split('_')[1].lower()}.toml" for name in ("HELIOS_FLOWS_FILE", "HELIOS_SOURCES_FILE")
    }
    packaged = {name: str(file) for name, file in files.items() if file.is_file()}
    named = {name: value for name, value in properties.items() if name.startswith("HELIOS_") and value}
    return {**packaged, **named, "HELIOS_ENGINE": "flink"}


def client_properties(user: Mapping[str, str]) -> dict[str, str]:
    """The properties of Kafka's Java client for MSK.

    Args:
        user: ``username`` and ``password``, as the module ``log`` stores them.
    """
    credentials = f"username={_quoted(user['username'])} password={_quoted(user['password'])}"
    login = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule"
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": f"{login} required {credentials};",
    }


def _quoted(text: str) -> str:
    """A value of a JAAS configuration."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
