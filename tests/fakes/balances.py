"""Balances in a list, for a Helios in one process."""

from datetime import datetime

from helios.model.balances import Balance, BalanceFilter
from helios.model.paging import Page, decode_cursor, encode_cursor


class MemoryBalances:
    """Implements ``BalanceReader`` on balances that a test adds."""

    def __init__(self) -> None:
        self.rows: list[Balance] = []

    def balances(self, where: BalanceFilter, *, after: str | None, limit: int) -> Page[Balance]:
        """A page of balances, the newest minute first."""
        before = decode_cursor(after, tuple[datetime, str, str]) if after else None
        following = [
            balance
            for balance in sorted(self.rows, key=_place, reverse=True)
            if (before is None or _place(balance) < before) and _matches(balance, where)
        ]
        items = following[:limit]
        return Page(items=items, next_cursor=encode_cursor(_place(items[-1])) if len(following) > limit else None)


def _place(balance: Balance) -> tuple[datetime, str, str]:
    return (balance.minute, balance.source, balance.type)


def _matches(balance: Balance, where: BalanceFilter) -> bool:
    return (
        (not where.state or balance.state in where.state)
        and where.source in {None, balance.source}
        and where.type in {None, balance.type}
        and (where.since is None or balance.minute >= where.since)
        and (where.until is None or balance.minute < where.until)
        and where.limits.allows(balance.source, balance.type)
    )
