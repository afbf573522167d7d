"""Varied orders: the flows of orders in parcels, refunded, in instalments and in another currency, each of its own."""

from pathlib import Path
from typing import Final

import msgspec

from local.stack.config import REPOSITORY, Config

VARIED_FLOWS: Final = Path(__file__).with_name("varied_orders.toml")


def with_varied_orders(config: Config, *, folder: Path | None = None) -> Config:
    """The settings of a stack whose flows include those of varied orders. Writes the file that declares all of them.

    Args:
        config: the settings; to their flows file, or the flow that ships with Helios, the flows are added. A file with
            legs of further sources must have these already.
        folder: where to write the file; by default the state folder.
    """
    folder = folder or config.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    flows = Path(config.flows_file or REPOSITORY / "shared/helios/flows.toml").read_text()
    flows_file = folder / "flows-of-varied-orders.toml"
    flows_file.write_text(f"{flows}\n{VARIED_FLOWS.read_text()}")
    return msgspec.structs.replace(config, flows_file=str(flows_file))
