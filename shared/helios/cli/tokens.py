"""``python -m helios tokens``: who may ask the API. It writes to the database itself."""

import argparse
import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from helios import bootstrap
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.tokens import PostgresTokens
from helios.errors import ConfigurationError, HeliosError
from helios.model.tokens import COMMAND_LINE, SCOPES, Token, TokenName, digest, mint


class NotDone(HeliosError):  # noqa: N818 - reads as the fact it is
    """There is no such token, or one of this name already."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "make, list and revoke the tokens that the API takes, in the database of HELIOS_DATABASE_URL"
    actions = commands.add_parser("tokens", help=text, description=text).add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a token, and print it: it is never shown again")
    create.add_argument("--name", required=True, help="whose it is; the audit log says it")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=SCOPES,
        help="what it opens: read; replay, which reads too; admin, which is all. Repeatable",
    )
    create.add_argument("--days", type=int, help="how long it is good for; without it, until it is revoked")
    create.set_defaults(run=_create)
    listing = actions.add_parser("list", help="list the tokens, without what it takes to use them")
    listing.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    listing.set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="take a token back; the API stops within ten seconds")
    revoke.add_argument("name")
    revoke.set_defaults(run=_revoke)


def _create(given: argparse.Namespace) -> None:
    try:
        name = msgspec.convert(given.name, TokenName)
    except msgspec.ValidationError as error:
        raise ConfigurationError("--name is 1 to 64 letters, digits, and _ . @ - between them") from error
    if given.days is not None and given.days < 1:
        raise ConfigurationError("--days is below 1")
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=given.days) if given.days else None
    secret = mint()
    token = Token(name=name, scopes=tuple(dict.fromkeys(given.scope)), created_at=now, expires_at=expires_at)
    with _tokens() as tokens:
        if not tokens.add(digest(secret), token, actor=_actor()):
            raise NotDone(f"there is a token {name!r} already, valid or revoked: choose another name")
    sys.stdout.write(f"{secret}\n")


def _list(given: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    with _tokens() as tokens:
        found = tokens.all()
    for token in found:
        if given.json:
            sys.stdout.write(msgspec.json.encode(token).decode() + "\n")
        else:
            state = "valid" if token.is_valid(now) else "revoked" if token.revoked_at else "expired"
            used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never"
            sys.stdout.write(f"{token.name:<24} {state:<8} {','.join(token.scopes):<18} last used {used}\n")


def _revoke(given: argparse.Namespace) -> None:
    with _tokens() as tokens:
        if not tokens.revoke(given.name, datetime.now(UTC), actor=_actor()):
            raise NotDone(f"there is no token {given.name!r} that could be revoked")


def _actor() -> str:
    """The command line, and whose it is as far as this machine knows."""
    try:
        return f"{COMMAND_LINE} of {getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as containers have them
        return COMMAND_LINE


@contextmanager
def _tokens() -> Iterator[PostgresTokens]:
    settings = bootstrap.configure()
    seconds = settings.database_timeout_seconds
    with open_pool(settings.database_url, connections=1, timeout_seconds=seconds) as pool:
        yield PostgresTokens(pool)
