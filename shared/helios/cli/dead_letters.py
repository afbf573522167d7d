"""``dead-letters`` and ``replay``: what did not become events, and taking it in again, one by one or many at once."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final, Literal

import msgspec

from helios.cli.client import Client, Unanswered
from helios.cli.flows import client, common_options, natural
from helios.cli.replay import begin, pace_options, period_options
from helios.errors import ConfigurationError
from helios.model.dead_letters import DeadLetterGroup
from helios.model.events import SOURCES, SourceOrUnknown
from helios.model.replay import ReplayFilter, ReplayRequest, Target

UNREPAIRED: Final = {409, 413, 422}
"""A letter's own fault: the others go on."""
TOO_OFTEN, AWAY = 429, 503
PAUSE_SECONDS: Final = 5.0
"""How long to wait for an API that is away and does not say when to come again."""
MOST_PAUSES: Final = 12


class DeadLetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a dead letter."""

    id: int
    source: SourceOrUnknown
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    attempts: int
    replayed_as: str | None = None


class _Taken(msgspec.Struct, frozen=True):
    """What became of a letter; an array has several results."""

    status: str | None = None
    results: "list[_Taken]" = []

    def each(self) -> list[str]:
        return [self.status] if self.status else [status for one in self.results for status in one.each()]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to a parser; each sets ``run``, which takes the parsed arguments."""
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--source", choices=(*SOURCES, "unknown"), help="only of this cloud")
    which.add_argument("--field", help="only those that were rejected because of this field")
    which.add_argument("--reason", help="only those that were rejected for exactly this reason")
    period_options(which)
    parents = [common_options(), which]
    text = "list rejected deliveries that were not taken in again, by what is wrong with them"
    listing = commands.add_parser("dead-letters", help=text, description=text, parents=parents)
    listing.set_defaults(run=_list)
    text = (
        "take dead letters in again: those with these ids, or as a replay job all that --source, --field, --reason, "
        "--since and --until leave. What was taken in is marked, and is not taken in by another job"
    )
    replay = commands.add_parser("replay", help="take dead letters in again", description=text, parents=parents)
    replay.add_argument("ids", nargs="*", type=natural, metavar="ID", help="of dead letters")
    replay.add_argument("--all", action="store_true", help="without ids: all that are left")
    replay.add_argument("--body", type=Path, metavar="FILE", help="with one id: the whole message, repaired")
    pace_options(replay, per_second=10)
    replay.set_defaults(run=_replay)


def _list(given: argparse.Namespace) -> None:
    api, where = client(given), _asked(given)
    if given.json:
        for dead_letter in api.items("dead-letters", DeadLetterRow, limit=sys.maxsize, **where):
            sys.stdout.write(msgspec.json.encode(dead_letter).decode() + "\n")
        return
    where = {name: value for name, value in where.items() if name not in {"field", "reason"}}
    groups = [
        group
        for group in api.get("dead-letters/groups", list[DeadLetterGroup], limit=500, **where)
        if given.field in {None, group.field} and given.reason in {None, group.reason}
    ]
    for group in groups:
        words = "".join(c if c.isprintable() else "?" for c in f"{group.field} {group.reason}")
        sys.stdout.write(f"{group.count:>8,}  {group.source:<8} {words}\n")
    sys.stdout.write(f"{sum(group.count for group in groups):>8,}  dead letters that can be taken in again\n")


def _asked(given: argparse.Namespace) -> dict[str, str | None]:
    """The rejected letters that the options leave; contradictions would contradict again."""
    return {
        "source": given.source,
        "field": given.field,
        "reason": given.reason,
        "since": given.since and given.since.isoformat(),
        "until": given.until and given.until.isoformat(),
        "status": "rejected",
        "replayed": "false",
    }


def _replay(given: argparse.Namespace) -> None:
    filtered = any((given.source, given.field, given.reason, given.since, given.until, given.all))
    if given.ids and filtered:
        raise ConfigurationError("replay takes ids, or --all and what filters; not both")
    if not given.ids and not filtered:
        raise ConfigurationError(
            "replay takes the ids of dead letters, or --all, or --source, --field, --reason or --since"
        )
    if given.body and len(given.ids) != 1:
        raise ConfigurationError("--body repairs one letter: give one id")
    if given.ids:
        _one_by_one(given, client(given))
        return
    chosen = ReplayFilter(
        source=given.source, field=given.field, reason=given.reason, since=given.since, until=given.until
    )
    target = Target(kind="ingest")
    request = ReplayRequest(what="dead_letters", target=target, filter=chosen, per_second=given.per_second)
    begin(given, client(given), request)


def _one_by_one(given: argparse.Namespace, api: Client) -> None:
    if given.dry_run:
        sys.stdout.write(f"{len(given.ids)} dead letters\n")
        return
    body = {"body": _text(given.body)} if given.body else {}
    done: Counter[str] = Counter()
    for id_ in given.ids:
        began = time.monotonic()  # of each anew: after a pause nothing has to be caught up
        done.update(_taken(api, id_, body))
        time.sleep(max(0.0, 1 / given.per_second - (time.monotonic() - began)))
    sys.stdout.write(", ".join(f"{number:,} {status}" for status, number in sorted(done.items())) + "\n")


def _taken(api: Client, id_: int, body: dict[str, str]) -> list[str]:
    """What became of a letter; an API that is away, or asked too often, is asked again when it says.

    Raises:
        Unanswered: nothing is known of it; replaying it again is safe.
    """
    for _ in range(MOST_PAUSES):
        try:
            return api.post(f"dead-letters/{id_}/replay", body, _Taken).each()
        except Unanswered as error:
            if error.status in UNREPAIRED:
                sys.stderr.write(f"helios: {id_}: {error}\n")
                return ["still refused"]
            if error.status not in {TOO_OFTEN, AWAY}:
                raise
            time.sleep(error.after_seconds or PAUSE_SECONDS)
    raise Unanswered(f"{id_}: the API was asked {MOST_PAUSES} times, and still is away")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--body {file}: {error}") from error
