"""Queries on a pool of connections: conditions, pages and rows."""

import re
from typing import Any, LiteralString

from psycopg.rows import TupleRow

from helios.adapters.postgres.connection import Pool, translate_errors
from helios.model.access import EventLimits

Conditions = tuple[LiteralString, list[Any]]
"""An SQL condition, and its parameters."""


_OF_A_LEG = """
EXISTS (
    SELECT FROM unnest(%s::text[], %s::text[]) AS leg (leg_source, leg_type)
    WHERE leg_type = type AND coalesce(leg_source, source) = source
)
"""


class Query:
    """The base of every reader: runs queries on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def _page(
        self, select: LiteralString, conditions: list[Conditions], order: LiteralString, limit: int
    ) -> list[TupleRow]:
        """At most ``limit`` + 1 rows: the additional row means that another page follows."""
        where, values = conjunction(conditions)
        return self._all(f"{select} {where} {order} LIMIT %s", [*values, limit + 1])

    def _all(self, query: LiteralString, parameters: list[Any] | dict[str, Any]) -> list[TupleRow]:
        with translate_errors(), self._pool.connection() as connection:
            return connection.execute(query, parameters).fetchall()


def conjunction(conditions: list[Conditions]) -> tuple[LiteralString, list[Any]]:
    """The conditions as a WHERE clause, empty if there are none, and its parameters."""
    sql = " AND ".join(sql for sql, _ in conditions)
    return (f"WHERE {sql}" if conditions else ""), [value for _, values in conditions for value in values]


def limit_conditions(limits: EventLimits) -> list[Conditions]:
    """The conditions of the limits on a table with the columns ``source`` and ``type``."""
    conditions: list[Conditions] = []
    if limits.sources is not None:
        conditions.append(("source = ANY(%s)", [list(limits.sources)]))
    if limits.types is not None:
        conditions.append(("type LIKE ANY(%s)", [[like(pattern) for pattern in limits.types]]))
    if limits.legs is not None:
        legs = [[source for source, _ in limits.legs], [type_ for _, type_ in limits.legs]]
        conditions.append((_OF_A_LEG, legs))
    return conditions


def like(pattern: str) -> str:
    """A pattern in which ``*`` stands for any text, as a pattern of LIKE."""
    return re.sub(r"([\\%_])", r"\\\1", pattern).replace("*", "%")


def with_values(conditions: list[tuple[LiteralString, Any]]) -> list[Conditions]:
    """The conditions whose value is not None."""
    return [(sql, [value]) for sql, value in conditions if value is not None]
