"""``helios tokens``: manages the tokens of the API's clients. Reads and writes the database."""

import argparse
import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from helios import bootstrap
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.tokens import PostgresTokens
from helios.cli.terminal import write_json, write_line
from helios.cli.times import utc_text
from helios.errors import ConfigurationError, HeliosError
from helios.model.tokens import COMMAND_LINE, SCOPES, Token, TokenName, digest, mint


class TokenError(HeliosError):
    """No token has this name, or a token with this name exists already."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "create, list and revoke the API's tokens, in the database of HELIOS_DATABASE_URL"
    actions = commands.add_parser("tokens", help=text, description=text).add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="create a token and print it; it is never shown again")
    create.add_argument("--name", required=True, help="the owner, for the audit log")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=SCOPES,
        help="what the token permits: read; replay, which includes read; admin, which includes all. Repeatable",
    )
    create.add_argument("--days", type=int, help="days until the token expires; by default it never does")
    create.set_defaults(run=_create)
    listing = actions.add_parser("list", help="list the tokens, without their secrets")
    listing.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    listing.set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="revoke a token; the API refuses it within ten seconds")
    revoke.add_argument("name", help="the token's name")
    revoke.set_defaults(run=_revoke)


def _create(options: argparse.Namespace) -> None:
    try:
        name = msgspec.convert(options.name, TokenName)
    except msgspec.ValidationError as error:
        raise ConfigurationError("--name must be 1 to 64 letters, digits, and _ . @ - between them") from error
    if options.days is not None and options.days < 1:
        raise ConfigurationError("--days must be at least 1")
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=options.days) if options.days else None
    secret = mint()
    token = Token(name=name, scopes=tuple(dict.fromkeys(options.scope)), created_at=now, expires_at=expires_at)
    with _tokens() as tokens:
        if not tokens.add(digest(secret), token, actor=_actor()):
            raise TokenError(f"A token named {name!r} exists already, valid or revoked. Choose another name.")
    write_line(secret)


def _list(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    with _tokens() as tokens:
        rows = tokens.all()
    for token in rows:
        if options.json:
            write_json(token)
        else:
            state = "valid" if token.is_valid(now) else "revoked" if token.revoked_at else "expired"
            last_used = utc_text(token.last_used_at) if token.last_used_at else "never"
            write_line(f"{token.name:<24} {state:<8} {','.join(token.scopes):<18} last used {last_used}")


def _revoke(options: argparse.Namespace) -> None:
    with _tokens() as tokens:
        if not tokens.revoke(options.name, datetime.now(UTC), actor=_actor()):
            raise TokenError(f"No token named {options.name!r} can be revoked: none exists, or it was revoked already.")


def _actor() -> str:
    """The command line, and the operating system's user if it has a name."""
    try:
        return f"{COMMAND_LINE} of {getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as in containers
        return COMMAND_LINE


@contextmanager
def _tokens() -> Iterator[PostgresTokens]:
    settings = bootstrap.configure()
    seconds = settings.database_timeout_seconds
    with open_pool(settings.database_url, connections=1, timeout_seconds=seconds) as pool:
        yield PostgresTokens(pool)
