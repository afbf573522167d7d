"""A whole Helios in memory, as the API wants it."""

from helios.adapters.memory import MemoryOutbox, MemorySeen, MemoryStore
from helios.bootstrap import Services
from helios.flows.reconcile import Reconciler
from helios.reconcile import declaration
from helios.settings import Settings

UNGUARDED = Settings(database_url="postgresql://nowhere", unguarded="loopback")
"""What this machine sends to itself needs no proof."""


def in_memory(store: MemoryStore, settings: Settings = UNGUARDED) -> Services:
    """Services on this store."""
    outbox = MemoryOutbox(store)
    return Services(
        settings=settings,
        store=store,
        reader=store,
        seen=MemorySeen(),
        outbox=outbox,
        bell=outbox,
        listener=outbox,
        reconciler=Reconciler(declaration.load()),
        flows=store,
    )
