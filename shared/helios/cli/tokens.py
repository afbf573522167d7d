"""``helios tokens``: manages the tokens of the API's clients. Reads and writes the database."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.tokens import PostgresTokens
from helios.cli import database
from helios.cli.actor import actor
from helios.cli.listing import format_options, write_for_programs
from helios.cli.terminal import write_line
from helios.cli.times import utc_text
from helios.errors import ConfigurationError, HeliosError
from helios.model.access import MAX_LIMITS, Visibility, describe
from helios.model.tokens import SCOPES, Scope, Token, TokenName, digest, mint

NARROWED: frozenset[Scope] = frozenset({"read", "resolve"})
"""The scopes that limits narrow."""

LIMITS = {
    "source": "only events of this source: aws. Repeatable, like the other limits; with read or resolve",
    "type": "only events of this type, in which * stands for any text: 'Order*'",
    "flow": "only instances of this flow, and events that belong to one of its legs",
    "mask": "hide the values of this payload field, a path such as customer_id or card.number",
}


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
        help="what it permits: read; replay, resolve or rules, which include read; admin, which is all. Repeatable",
    )
    for option, text in LIMITS.items():
        create.add_argument(f"--{option}", action="append", default=[], metavar=option.upper(), help=text)
    create.add_argument("--days", type=int, help="days until the token expires; by default it never does")
    create.set_defaults(run=_create)
    listing = actions.add_parser("list", help="list the tokens, without their secrets")
    format_options(listing)
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
    visibility = _visibility(options)
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=options.days) if options.days else None
    secret = mint()
    token = Token(
        name=name,
        scopes=tuple(dict.fromkeys(options.scope)),
        created_at=now,
        expires_at=expires_at,
        visibility=visibility,
    )
    with _tokens() as tokens:
        if not tokens.add(digest(secret), token, actor=actor()):
            raise TokenError(f"A token named {name!r} exists already, valid or revoked. Choose another name.")
    write_line(secret)


def _visibility(options: argparse.Namespace) -> Visibility:
    limits = {"sources": options.source, "types": options.type, "flows": options.flow, "masked": options.mask}
    try:
        visibility = msgspec.convert({name: values for name, values in limits.items() if values}, Visibility)
    except msgspec.ValidationError as error:
        reason = f"--source, --type, --flow and --mask take names of 1 to 256 characters, at most {MAX_LIMITS} of each"
        raise ConfigurationError(reason) from error
    if visibility.is_limited and not set(options.scope) <= NARROWED:
        raise ConfigurationError(
            "--source, --type, --flow and --mask limit what a token sees: use them with the scopes read and resolve "
            "only. A token with another scope acts on events or flows of any source."
        )
    return visibility


def _list(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    with _tokens() as tokens:
        rows = tokens.all()
    if write_for_programs(options, rows, Token.__struct_fields__):
        return
    if not rows:
        write_line("There is no token.")
    for token in rows:
        state = "valid" if token.is_valid(now) else "revoked" if token.revoked_at else "expired"
        limits = f"  {describe(token.visibility)}" if token.visibility.is_limited else ""
        last_used = utc_text(token.last_used_at) if token.last_used_at else "never"
        write_line(f"{token.name:<24} {state:<8} {','.join(token.scopes):<18} last used {last_used}{limits}")


def _revoke(options: argparse.Namespace) -> None:
    with _tokens() as tokens:
        if not tokens.revoke(options.name, datetime.now(UTC), actor=actor()):
            raise TokenError(f"No token named {options.name!r} can be revoked: none exists, or it was revoked already.")


@contextmanager
def _tokens() -> Iterator[PostgresTokens]:
    settings = database.configure()
    seconds = settings.database_timeout_seconds
    with open_pool(settings.postgres_url, connections=1, timeout_seconds=seconds) as pool:
        yield PostgresTokens(pool)
