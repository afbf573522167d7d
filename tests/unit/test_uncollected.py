"""Nothing of a batch outlives it: memory must not grow with the number of deliveries that can't be read."""

import gc
import importlib
import pkgutil
import typing
from collections.abc import Callable
from types import FrameType, TracebackType

import msgspec
import pytest

import helios
from helios.adapters.no_dedupe import NullDedupeCache
from helios.errors import HeliosError
from helios.services.ingest import ingest
from tests.fakes.store import MemoryStore
from tests.support.deliveries import eventbridge, poison

OPTIONAL = ("adapters", "api", "cli", "embedded", "flink.job", "flink.operators", "serve")
"""Packages with modules that need an extra, or run something when they are imported."""


def untracked_structs() -> list[type[msgspec.Struct]]:
    """The structs that the garbage collector does not see."""
    for module in pkgutil.walk_packages(helios.__path__, "helios."):
        if not module.name.endswith("__main__") and not module.name.startswith(tuple(f"helios.{n}" for n in OPTIONAL)):
            importlib.import_module(module.name)
    found, waiting = [], [msgspec.Struct]
    while waiting:
        children = waiting.pop().__subclasses__()
        waiting += children
        found += [one for one in children if one.__module__.startswith("helios.") and not one.__struct_config__.gc]
    return found


def parts(annotation: object) -> set[object]:
    """The types in an annotation: ``Event | None`` has two."""
    arguments = typing.get_args(annotation)
    return set().union(*map(parts, arguments)) if arguments else {annotation}


@pytest.mark.parametrize("struct", untracked_structs(), ids=lambda struct: struct.__qualname__)
def test_an_untracked_struct_has_no_field_that_can_refer_to_its_owner(struct):
    """The collector can't break a cycle through such a struct, and an error refers to the frames of its callers."""
    owners = (BaseException, FrameType, TracebackType)
    for name, annotation in typing.get_type_hints(struct).items():
        for part in parts(annotation):
            assert part is not Callable, f"{name} is a function"
            assert not (isinstance(part, type) and issubclass(part, owners)), f"{name} is a {part}"


@pytest.mark.parametrize("size", [1, 50])
def test_no_error_of_a_batch_outlives_it(size):
    def errors() -> int:
        gc.collect()
        return sum(isinstance(one, HeliosError) for one in gc.get_objects())

    before = errors()
    for number in range(5):
        deliveries = [poison()] * size + [eventbridge(str(number))]
        outcomes = ingest(deliveries, dedupe=NullDedupeCache(), store=MemoryStore())
        assert [outcome.status for outcome in outcomes] == ["rejected"] * size + ["stored"]
    assert errors() == before
