"""The services of the API, in memory."""

from datetime import UTC, datetime, timedelta

from starlette.testclient import TestClient

from helios.api import create_app
from helios.bootstrap import OpenArchive, Services
from helios.model.tokens import PREFIX, SCOPES, Token, digest
from helios.reconciliation import declaration
from helios.services.rules import Rules
from helios.settings import Settings
from helios.sources import declaration as source_declaration
from tests.fakes.balances import MemoryBalances
from tests.fakes.flow_versions import MemoryFlowVersions
from tests.fakes.incidents import MemoryIncidents
from tests.fakes.leases import MemoryLeases
from tests.fakes.recoveries import MemoryRecoveries
from tests.fakes.replay import MemoryReplayJobs
from tests.fakes.resolutions import MemoryResolutions
from tests.fakes.store import MemoryDedupeCache, MemoryOutbox, MemoryStore
from tests.fakes.tokens import MemoryTickets, MemoryTokens

TRUST_LOOPBACK = Settings(database_url="postgresql://nowhere", trust_loopback=True)
"""Requests from loopback need no credentials."""


def in_memory(store: MemoryStore, settings: Settings = TRUST_LOOPBACK) -> Services:
    """The services on this store, with a token of each scope (see ``bearer``)."""
    outbox = MemoryOutbox(store)
    sources = source_declaration.load(settings.sources_file)
    declared, text = declaration.load_text(settings.flows_file, sources=sources)
    return Services(
        settings=settings,
        store=store,
        reader=store,
        dedupe=MemoryDedupeCache(),
        outbox=outbox,
        notifier=outbox,
        listener=outbox,
        rules=Rules(declared, None, text=text, file=settings.flows_file, sources=sources),
        versions=MemoryFlowVersions(),
        sources=sources,
        flows=store,
        incidents=MemoryIncidents(store),
        balances=MemoryBalances(),
        jobs=MemoryReplayJobs(store),
        resolutions=MemoryResolutions(store),
        recoveries=MemoryRecoveries(),
        tokens=tokens(),
        leases=MemoryLeases(),
        tickets=MemoryTickets(),
    )


def tokens() -> MemoryTokens:
    """A token of each scope, named after it, and the invalid tokens ``expired`` and ``revoked``."""
    store = MemoryTokens()
    now = datetime.now(UTC)
    for name in (*SCOPES, "expired", "revoked"):
        expires_at = now - timedelta(seconds=1) if name == "expired" else None
        scopes = (name,) if name in SCOPES else ("admin",)
        store.add(digest(PREFIX + name), Token(name=name, scopes=scopes, created_at=now, expires_at=expires_at))
    store.revoke("revoked", now)
    return store


def bearer(name: str) -> dict[str, str]:
    """The header with the token of this name."""
    return {"authorization": f"Bearer {PREFIX}{name}"}


def client_of(
    services: Services,
    archive: OpenArchive | None = None,
    *,
    url: str = "http://127.0.0.1",
    sender: str = "127.0.0.1",
) -> TestClient:
    """A client of an API on these services, which fills the archive; by default on the same machine."""
    return TestClient(create_app(services, archive=archive), base_url=url, client=(sender, 50000))
