"""Reading on a pool of connections: conditions, pages, and rows."""

from typing import Any, LiteralString

from psycopg.rows import TupleRow

from helios.adapters.postgres.connection import Pool, translated

Conditions = tuple[LiteralString, list[Any]]
"""A condition, and the values in it."""


class Query:
    """What every reader of Postgres needs: a pool, and a way to ask on it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def _page(
        self, select: LiteralString, conditions: list[Conditions], order: LiteralString, limit: int
    ) -> list[TupleRow]:
        """At most one row more than ``limit``: a further row means that another page follows."""
        where, values = conjunction(conditions)
        return self._all(f"{select} {where} {order} LIMIT %s", [*values, limit + 1])

    def _all(self, query: LiteralString, parameters: list[Any] | dict[str, Any]) -> list[TupleRow]:
        with translated(), self._pool.connection() as connection:
            return connection.execute(query, parameters).fetchall()


def conjunction(conditions: list[Conditions]) -> tuple[LiteralString, list[Any]]:
    """The conditions as a WHERE clause, empty without any, and the values in it."""
    sql = " AND ".join(sql for sql, _ in conditions)
    return (f"WHERE {sql}" if conditions else ""), [value for _, values in conditions for value in values]


def given(conditions: list[tuple[LiteralString, Any]]) -> list[Conditions]:
    """The conditions that have a value."""
    return [(sql, [value]) for sql, value in conditions if value is not None]
