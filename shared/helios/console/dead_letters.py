"""``dead-letters`` and ``replay``: what did not become events, and taking it in again, one by one or many at once."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from helios.console.client import Client, Unanswered
from helios.console.commands import client, common_options, natural
from helios.errors import Misconfigured
from helios.event import SOURCES

UNREPAIRED: Final = {409, 413, 422}
"""A letter's own fault: the others go on."""
TOO_OFTEN: Final = 429
PAUSE_SECONDS: Final = 5.0
PROGRESS: Final = 100
"""Letters from one line of progress to the next."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a dead letter."""

    id: int
    source: str
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    attempts: int
    replayed_as: str | None = None


class _Taken(msgspec.Struct, frozen=True):
    status: str


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to a parser; each sets ``run``, which takes the parsed arguments."""
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--source", choices=(*SOURCES, "unknown"), help="only of this cloud")
    which.add_argument("--field", help="only those that were rejected because of this field")
    parents = [common_options(), which]
    text = "list rejected deliveries that were not taken in again, by what is wrong with them"
    listing = commands.add_parser("dead-letters", help=text, description=text, parents=parents)
    listing.set_defaults(run=_list)
    text = (
        "take dead letters in again: those with these ids, or all that --source and --field leave. "
        "What was taken in is marked, so a command that was ended goes on where it was when it is given again"
    )
    replay = commands.add_parser("replay", help="take dead letters in again", description=text, parents=parents)
    replay.add_argument("ids", nargs="*", type=natural, metavar="ID", help="of dead letters")
    replay.add_argument("--all", action="store_true", help="without ids: all that are left")
    replay.add_argument("--body", type=Path, metavar="FILE", help="with one id: the whole message, repaired")
    replay.add_argument("--dry-run", action="store_true", help="only count them")
    replay.add_argument("--per-second", type=natural, default=10, metavar="N", help="at most (%(default)s)")
    replay.set_defaults(run=_replay)


def _list(given: argparse.Namespace) -> None:
    letters = list(_waiting(client(given), given))
    if given.json:
        for letter in letters:
            sys.stdout.write(msgspec.json.encode(letter).decode() + "\n")
        return
    _count(letters)


def _replay(given: argparse.Namespace) -> None:
    """The oldest first, as they came."""
    if given.ids and (given.source or given.field or given.all):
        raise Misconfigured("replay takes ids, or --all, --source and --field; not both")
    if not (given.ids or given.source or given.field or given.all):
        raise Misconfigured("replay takes the ids of dead letters, or --all, or --source or --field")
    if given.body and len(given.ids) != 1:
        raise Misconfigured("--body repairs one letter: give one id")
    api = client(given)
    ids = given.ids
    if not ids:
        letters = list(_waiting(api, given))
        if given.dry_run:
            _count(letters)
            return
        ids = sorted(letter.id for letter in letters)
    elif given.dry_run:
        sys.stdout.write(f"{len(ids)} dead letters\n")
        return
    body = {"body": _text(given.body)} if given.body else {}
    done: Counter[str] = Counter()
    started = time.monotonic()
    for number, id_ in enumerate(ids):
        time.sleep(max(0.0, started + number / given.per_second - time.monotonic()))
        done[_taken(api, id_, body)] += 1
        if number % PROGRESS == PROGRESS - 1:
            _say(f"{number + 1} of {len(ids)}: {_summary(done)}")
    sys.stdout.write(f"{_summary(done) or 'there is nothing to take in again'}\n")


def _waiting(api: Client, given: argparse.Namespace) -> Iterator[Letter]:
    """The rejected letters that the options leave; contradictions would contradict again."""
    found = api.items("dead-letters", Letter, limit=sys.maxsize, source=given.source, status="rejected")
    return (one for one in found if one.replayed_as is None and given.field in {None, one.field})


def _taken(api: Client, id_: int, body: dict[str, str]) -> str:
    """What became of a letter.

    Raises:
        Unanswered: nothing is known of it; replaying it again is safe.
    """
    while True:
        try:
            return api.post(f"dead-letters/{id_}/replay", body, _Taken).status
        except Unanswered as error:
            if error.status == TOO_OFTEN:
                time.sleep(PAUSE_SECONDS)
                continue
            if error.status not in UNREPAIRED:
                raise
            _say(f"{id_}: {error}")
            return "still refused"


def _count(letters: list[Letter]) -> None:
    groups = Counter((letter.source, letter.field, letter.reason) for letter in letters)
    for (source, field, reason), number in groups.most_common():
        words = f"{field} {reason}"
        sys.stdout.write(f"{number:>8,}  {source:<8} {''.join(c if c.isprintable() else '?' for c in words)}\n")
    sys.stdout.write(f"{len(letters):>8,}  dead letters that can be taken in again\n")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"--body {file}: {error}") from error


def _summary(done: Counter[str]) -> str:
    return ", ".join(f"{number:,} {status}" for status, number in sorted(done.items()))


def _say(text: str) -> None:
    sys.stderr.write(f"helios: {text}\n")
