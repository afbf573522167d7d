"""azure-functions' own converters between the host's data and Python values."""

from typing import Any

from azure.functions import meta


def converter(binding: str) -> Any:
    """The converter of a binding, such as ``httpTrigger`` or ``http``; it has ``decode`` or ``encode``."""
    return meta.get_binding_registry().get(binding)  # type: ignore[no-untyped-call]  # it ships without types
