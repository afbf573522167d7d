"""azure-functions' own converters, which make Python values of what the host hands over, and back."""

from typing import Any

from azure.functions import meta


def converter(binding: str) -> Any:
    """The converter of a binding: ``httpTrigger``, ``http``; it has ``decode`` or ``encode``."""
    return meta.get_binding_registry().get(binding)  # type: ignore[no-untyped-call]  # it ships without types
