"""Finds each cloud's endpoint from the SDKs' own variables, and refuses a mix of emulators and real clouds."""

import os
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from helios.errors import ConfigurationError
from helios.model.sources import Source

from .answers import Publisher

_AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_AZURE_KEY: Final = "HELIOS_AZURE_EVENTGRID_KEY"
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
DEFAULT_REGION: Final = "us-east-1"
"""For an emulator, which accepts any region."""
_AZURE_HOSTS: Final = (".eventgrid.azure.net", ".eventgrid.azure.us", ".eventgrid.azure.cn")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The destination of the events of one cloud.

    Attributes:
        source: the cloud.
        address: the host or URL.
        name: the bus (``helios``) or topic (``projects/p/topics/helios-events``); empty on Azure.
        emulated: True when the endpoint is an emulator.
        setting: the variable that named the endpoint.
    """

    source: Source
    address: str
    name: str
    emulated: bool
    setting: str

    def __str__(self) -> str:
        kind = "emulator" if self.emulated else "real cloud"
        name = f" {self.name}" if self.name else ""
        return f"{self.source}: {kind} at {_shown(self.address)} ({self.setting}){name}"


def find(
    sources: Sequence[Source], *, allow_mixed: bool, environ: Mapping[str, str] = os.environ
) -> dict[Source, Endpoint]:
    """The endpoint of each of these clouds.

    Raises:
        ConfigurationError: a variable is missing or wrong, or some endpoints are emulators and others are not.
    """
    finders = {"aws": _aws, "gcp": _gcp, "azure": _azure}
    endpoints: dict[Source, Endpoint] = {source: finders[source](environ) for source in sources}
    if len({endpoint.emulated for endpoint in endpoints.values()}) > 1 and not allow_mixed:
        listed = "; ".join(str(endpoint) for endpoint in endpoints.values())
        raise ConfigurationError(
            f"some endpoints are emulators and some are real clouds ({listed}). Set the missing variable, "
            "leave a cloud out with --source, or allow the mix with --allow-mixed."
        )
    return endpoints


def connect(endpoint: Endpoint, *, environ: Mapping[str, str] = os.environ) -> Publisher:
    """A publisher for the endpoint. Imports the SDK of that cloud only.

    Raises:
        ConfigurationError: the SDK finds no credentials.
    """
    match endpoint.source:
        case "aws":
            from .eventbridge import EventBridge

            return EventBridge(endpoint.address, region=_region(environ) or DEFAULT_REGION, bus=endpoint.name)
        case "gcp":
            from .pubsub import PubSub

            return PubSub(topic=endpoint.name)
        case "azure":
            from .eventgrid import EventGrid

            return EventGrid(endpoint.address, key=environ.get(_AZURE_KEY))
        case _:
            raise AssertionError(f"{endpoint.source} is no cloud")


def _aws(environ: Mapping[str, str]) -> Endpoint:
    bus = environ.get("HELIOS_AWS_EVENT_BUS") or "helios"
    for variable in ("AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL"):
        if url := environ.get(variable):
            host = _host(url, variable)
            emulated = not host.endswith(_AWS_HOSTS)
            return Endpoint(source="aws", address=url, name=bus, emulated=emulated, setting=variable)
    address = _configured_aws(environ)
    emulated = not _host(address, "endpoint_url").endswith(_AWS_HOSTS)
    if not emulated and not _region(environ):
        raise _unset("aws", "AWS_ENDPOINT_URL", "the emulator's URL, or AWS_REGION for the real cloud")
    named = not emulated and any(environ.get(variable) for variable in _REGIONS)
    return Endpoint(
        source="aws", address=address, name=bus, emulated=emulated, setting="AWS_REGION" if named else "AWS profile"
    )


def _configured_aws(environ: Mapping[str, str]) -> str:
    """The endpoint that boto3 chooses, which may be an ``endpoint_url`` of a profile."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        client = boto3.Session().client("events", region_name=_region(environ) or DEFAULT_REGION)
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"AWS: {error}") from error
    address: str = client.meta.endpoint_url
    client.close()
    return address


def _region(environ: Mapping[str, str]) -> str | None:
    """The region of the variables, or of the profile. Of the two variables boto3 itself reads only the second."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        profile_region: str | None = boto3.Session().region_name
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS: {error}") from error
    return next((environ[variable] for variable in _REGIONS if environ.get(variable)), profile_region)


def _gcp(environ: Mapping[str, str]) -> Endpoint:
    project = _required("gcp", "GOOGLE_CLOUD_PROJECT", environ)
    topic = f"projects/{project}/topics/{environ.get('HELIOS_GCP_TOPIC') or 'helios-events'}"
    if host := environ.get("PUBSUB_EMULATOR_HOST"):
        return Endpoint(source="gcp", address=host, name=topic, emulated=True, setting="PUBSUB_EMULATOR_HOST")
    address = "pubsub.googleapis.com"
    return Endpoint(source="gcp", address=address, name=topic, emulated=False, setting="GOOGLE_CLOUD_PROJECT")


def _azure(environ: Mapping[str, str]) -> Endpoint:
    setting = "HELIOS_AZURE_EVENTGRID_ENDPOINT"
    url = _required("azure", setting, environ)
    emulated = not _host(url, setting).endswith(_AZURE_HOSTS)
    if emulated:  # the real Event Grid also accepts the signed-in user
        _required("azure", _AZURE_KEY, environ)
    return Endpoint(source="azure", address=url, name="", emulated=emulated, setting=setting)


def _required(source: Source, variable: str, environ: Mapping[str, str]) -> str:
    hints = {
        "GOOGLE_CLOUD_PROJECT": "the project id (any name for the emulator)",
        "HELIOS_AZURE_EVENTGRID_ENDPOINT": "the topic's endpoint, such as https://NAME.REGION-1.eventgrid.azure.net/api/events",
        _AZURE_KEY: "the topic's access key",
    }
    if not (value := environ.get(variable)):
        raise _unset(source, variable, hints[variable])
    return value


def _unset(source: Source, variable: str, value: str) -> ConfigurationError:
    return ConfigurationError(
        f"{variable} is not set. Set it to {value}, or leave {source} out: name the other clouds with --source."
    )


def _host(url: str, variable: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"{variable}: {_shown(url)!r} is not an http:// or https:// URL")
    return parts.hostname


def _shown(address: str) -> str:
    """An address without its user, password and query, which may be secret; the address need not be a valid URL."""
    scheme, separator, rest = address.partition("?")[0].partition("#")[0].rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
