"""``helios dead-letters``: lists dead letters, and replays them one by one or as a job."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final, Literal

import msgspec

from helios.cli.client import ApiError, Client
from helios.cli.flows import client, common_options, positive_int
from helios.cli.replay import period_options, rate_options, start_job
from helios.cli.terminal import note, write_json, write_line
from helios.errors import ConfigurationError
from helios.model.dead_letters import DeadLetterGroup
from helios.model.events import SOURCES, SourceOrUnknown
from helios.model.replay import ReplayFilter, ReplayRequest, Target

REFUSED: Final = {409, 413, 422}
"""Statuses for which one dead letter is at fault, so that the others can still be replayed."""
RATE_LIMITED, UNAVAILABLE = 429, 503
PAUSE_SECONDS: Final = 5.0
"""Wait for an unavailable API that sends no Retry-After."""
MAX_ATTEMPTS: Final = 12


class DeadLetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a dead letter that ``list --json`` prints."""

    id: int
    source: SourceOrUnknown
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    attempts: int
    replayed_as: str | None = None


class _ReplayResult(msgspec.Struct, frozen=True):
    """The API's answer to one replay; a body that is an array has several results."""

    status: str | None = None
    results: "list[_ReplayResult]" = []

    def statuses(self) -> list[str]:
        return [self.status] if self.status else [status for result in self.results for status in result.statuses()]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; each action sets ``run``, which takes the parsed arguments."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--source", choices=(*SOURCES, "unknown"), help="only dead letters of this cloud")
    where.add_argument("--field", help="only dead letters that were rejected because of this field")
    where.add_argument("--reason", help="only dead letters that were rejected for exactly this reason")
    period_options(where)
    parents = [common_options(), where]
    text = "list and replay the deliveries that did not become events"
    actions = commands.add_parser("dead-letters", help=text, description=text).add_subparsers(
        dest="action", required=True
    )
    text = "count the rejected dead letters that were not replayed, by reason; with --json, list them"
    listing = actions.add_parser("list", help=text, description=text, parents=parents)
    listing.set_defaults(run=_list)
    text = (
        "replay the dead letters with these ids; or, as a replay job, all that --source, --field, --reason, --since "
        "and --until leave. A dead letter whose replay succeeded is marked, and no later job replays it"
    )
    replay = actions.add_parser("replay", help="replay dead letters", description=text, parents=parents)
    replay.add_argument("ids", nargs="*", type=positive_int, metavar="ID", help="the ids of dead letters")
    replay.add_argument("--all", action="store_true", help="instead of ids: every dead letter that was not replayed")
    replay.add_argument("--body", type=Path, metavar="FILE", help="with one id: the whole message, repaired")
    rate_options(replay, per_second=10)
    replay.set_defaults(run=_replay)


def _list(options: argparse.Namespace) -> None:
    api, query = client(options), _query(options)
    if options.json:
        for dead_letter in api.items("dead-letters", DeadLetterRow, limit=sys.maxsize, **query):
            write_json(dead_letter)
        return
    query = {name: value for name, value in query.items() if name not in {"field", "reason"}}
    groups = [
        group
        for group in api.get("dead-letters/groups", list[DeadLetterGroup], limit=500, **query)
        if options.field in {None, group.field} and options.reason in {None, group.reason}
    ]
    for group in groups:
        write_line(f"{group.count:>8,}  {group.source:<8} {group.field} {group.reason}")
    write_line(f"{sum(group.count for group in groups):>8,}  dead letters to replay")


def _query(options: argparse.Namespace) -> dict[str, str | None]:
    """The query for the rejected dead letters that the options leave; a contradictory one would contradict again."""
    return {
        "source": options.source,
        "field": options.field,
        "reason": options.reason,
        "since": options.since and options.since.isoformat(),
        "until": options.until and options.until.isoformat(),
        "status": "rejected",
        "replayed": "false",
    }


def _replay(options: argparse.Namespace) -> None:
    filtered = any((options.source, options.field, options.reason, options.since, options.until, options.all))
    if options.ids and filtered:
        raise ConfigurationError("dead-letters replay takes ids, or --all and filters, but not both")
    if not options.ids and not filtered:
        raise ConfigurationError(
            "dead-letters replay needs the ids of dead letters, or --all, or one of --source, --field, --reason, "
            "--since and --until"
        )
    if options.body and len(options.ids) != 1:
        raise ConfigurationError("--body replaces the body of one dead letter: give exactly one id")
    if options.ids:
        _replay_ids(options, client(options))
        return
    where = ReplayFilter(
        source=options.source, field=options.field, reason=options.reason, since=options.since, until=options.until
    )
    target = Target(kind="ingest")
    request = ReplayRequest(what="dead_letters", target=target, filter=where, per_second=options.per_second)
    start_job(options, client(options), request)


def _replay_ids(options: argparse.Namespace, api: Client) -> None:
    if options.dry_run:
        write_line(f"{len(options.ids)} dead letters")
        return
    body = {"body": _text(options.body)} if options.body else {}
    counts: Counter[str] = Counter()
    for id_ in options.ids:
        started = time.monotonic()  # of each request, so that no burst follows a pause
        counts.update(_replay_one(api, id_, body))
        time.sleep(max(0.0, 1 / options.per_second - (time.monotonic() - started)))
    write_line(", ".join(f"{number:,} {status}" for status, number in sorted(counts.items())))


def _replay_one(api: Client, id_: int, body: dict[str, str]) -> list[str]:
    """The outcomes of one dead letter; waits and retries while the API is unavailable or limits the rate.

    Raises:
        ApiError: the outcome is unknown; replaying the dead letter again is safe.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            return api.post(f"dead-letters/{id_}/replay", body, _ReplayResult).statuses()
        except ApiError as error:
            if error.status in REFUSED:
                note(f"dead letter {id_}: {error}")
                return ["refused"]
            if error.status not in {RATE_LIMITED, UNAVAILABLE}:
                raise
            time.sleep(error.retry_after_seconds or PAUSE_SECONDS)
    raise ApiError(f"dead letter {id_}: the API is still unavailable after {MAX_ATTEMPTS} attempts")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--body {file}: {error}") from error
