"""Versions of flows for tests."""

from datetime import UTC, datetime

from helios.adapters.postgres.connection import Pool
from helios.adapters.postgres.flow_versions import PostgresFlowVersions
from helios.reconciliation.declaration import shipped_text


def approve(database: Pool) -> None:
    """Approve a version of the shipped flow, which starts a recompute."""
    versions, now = PostgresFlowVersions(database), datetime.now(UTC)
    versions.save("order", shipped_text(), based_on=None, actor="kim", now=now)
    versions.mark_previewed("order", 1, actor="kim", now=now)
    versions.approve("order", 1, actor="kim", now=now)


def recomputing(database: Pool) -> list[str]:
    """The flows whose stored instances are still to be evaluated."""
    return [recompute.flow for recompute in PostgresFlowVersions(database).unfinished()]
