"""The sources of the demo beside the clouds: a payment provider and a shop, each a leg of the order flow."""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from helios.sources import declaration
from local.stack.config import REPOSITORY, Config

CLOUDS: Final = ("aws", "gcp", "azure")


class Provider(NamedTuple):
    """A provider.

    Attributes:
        name: the name of its source, and of its preset.
        leg: its leg of the order flow, and the rules that compare it with the order.
    """

    name: str
    leg: str


PROVIDERS: Final = (
    Provider(
        "stripe",
        """
[[flow.leg]]
name = "capture"
source = "stripe"
type = "payment_intent.succeeded"
verb = "captured"

[[flow.rule]]
equal = ["order.amount", "capture.amount"]

[[flow.rule]]
equal = ["order.currency", "capture.currency"]
""",
    ),
    Provider(
        "shopify",
        """
[[flow.leg]]
name = "shipment"
source = "shopify"
type = "fulfillments/create"
verb = "shipped"

[[flow.rule]]
equal = ["order.quantity", "shipment.quantity"]
""",
    ),
)
"""The fourth source, and the fifth."""

MOST_SOURCES: Final = len(CLOUDS) + len(PROVIDERS)


def names(count: int) -> list[str]:
    """The first sources, the clouds first."""
    return [*CLOUDS, *(provider.name for provider in PROVIDERS)][:count]


def with_sources(config: Config, count: int, *, folder: Path | None = None) -> Config:
    """The settings of a stack with ``count`` sources. Writes the files that declare them and the flow.

    Args:
        config: the settings; their flows file, or the flow that ships with Helios, gets the legs of the providers.
        count: the number of sources; three are the clouds, which need no file.
        folder: where to write the files; by default the state folder.
    """
    providers = PROVIDERS[: max(0, count - len(CLOUDS))]
    if not providers:
        return config
    folder = folder or config.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    flows = Path(config.flows_file or REPOSITORY / "shared/helios/flows.toml").read_text()
    sources_file, flows_file = folder / "sources.toml", folder / "flows-of-sources.toml"
    sources_file.write_text(
        "\n".join(f'[[source]]\nname = "{each.name}"\npreset = "{each.name}"\n' for each in providers)
    )
    flows_file.write_text(flows + "".join(provider.leg for provider in providers))
    return msgspec.structs.replace(config, sources_file=str(sources_file), flows_file=str(flows_file))


def environment(config: Config) -> dict[str, str]:
    """The settings of Helios, and of the simulator, for the declared sources."""
    if not config.sources_file:
        return {}
    secrets = {"stripe": config.credentials.stripe, "shopify": config.credentials.shopify}
    declared = declaration.load(config.sources_file).declared
    return {
        "HELIOS_SOURCES_FILE": config.sources_file,
        "HELIOS_SOURCE_SECRETS": " ".join(f"{name}={secrets[name]}" for name in declared if name in secrets),
    }
