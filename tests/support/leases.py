"""The time of a lease."""

from helios.adapters.postgres.connection import Pool


def expire(pool: Pool, name: str) -> None:
    """Let the time of a lease be over, as it is soon after its holder was killed."""
    with pool.connection() as connection:
        connection.execute("UPDATE leases SET expires_at = now() - interval '1 s' WHERE name = %s", [name])
