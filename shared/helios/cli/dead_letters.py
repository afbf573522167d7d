"""``helios dead-letters``: lists dead letters, and replays them one by one or as a job."""

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from helios.cli.flows import client, common_options, positive_int, source_name
from helios.cli.listing import write_for_programs
from helios.cli.replay import period_options, rate_options, start_job
from helios.cli.terminal import note, write_line
from helios.client import ApiError, Client
from helios.errors import ConfigurationError
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.model.sources import Source

REFUSED: Final = {409, 413, 422}
"""Statuses for which one dead letter is at fault, so that the others can still be replayed."""
RATE_LIMITED, UNAVAILABLE = 429, 503
PAUSE_SECONDS: Final = 5.0
"""Wait for an unavailable API that sends no Retry-After."""
MAX_ATTEMPTS: Final = 12
MAX_GROUPS: Final = 500


class DeadLetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a dead letter that ``list --json`` and ``--csv`` print."""

    id: int
    source: Source
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    attempts: int
    replayed_as: str | None = None


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; each action sets ``run``, which takes the parsed arguments."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--source", type=source_name, metavar="NAME", help="only dead letters of this source, or of `unknown`"
    )
    where.add_argument("--field", help="only dead letters that were rejected because of this field")
    where.add_argument("--reason", help="only dead letters that were rejected for exactly this reason")
    period_options(where)
    text = "list and replay the deliveries that did not become events"
    actions = commands.add_parser("dead-letters", help=text, description=text).add_subparsers(
        dest="action", required=True
    )
    text = "count the rejected dead letters that were not replayed, by reason; with --json or --csv, list them"
    listing = actions.add_parser("list", help=text, description=text, parents=[common_options(lists=True), where])
    listing.set_defaults(run=_list)
    text = (
        "replay the dead letters with these ids; or, as a replay job, all that --source, --field, --reason, --since "
        "and --until leave. A dead letter whose replay succeeded is marked, and no later job replays it"
    )
    replay = actions.add_parser(
        "replay", help="replay dead letters", description=text, parents=[common_options(), where]
    )
    replay.add_argument("ids", nargs="*", type=positive_int, metavar="ID", help="the ids of dead letters")
    replay.add_argument("--all", action="store_true", help="instead of ids: every dead letter that was not replayed")
    replay.add_argument("--body", type=Path, metavar="FILE", help="with one id: the whole message, repaired")
    text = "with ids: also store events beyond the identity horizon, which may have been stored before"
    replay.add_argument("--accept", action="store_true", help=text)
    rate_options(replay, per_second=10)
    replay.set_defaults(run=_replay)


def _list(options: argparse.Namespace) -> None:
    api = client(options)
    # A contradictory dead letter would contradict again.
    select: Any = {"source": options.source, "since": options.since, "until": options.until, "status": "rejected"}
    listed = api.dead_letters(field=options.field, reason=options.reason, replayed=False, **select)
    rows = (msgspec.convert(dead_letter, DeadLetterRow, from_attributes=True) for dead_letter in listed)
    if write_for_programs(options, rows, DeadLetterRow.__struct_fields__):
        return
    groups = [
        group
        for group in api.dead_letter_groups(replayed=False, limit=MAX_GROUPS, **select)
        if options.field in {None, group.field} and options.reason in {None, group.reason}
    ]
    for group in groups:
        write_line(f"{group.count:>8,}  {group.source:<8} {group.field} {group.reason}")
    write_line(f"{sum(group.count for group in groups):>8,}  dead letters to replay")


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
    if options.accept and not options.ids:
        raise ConfigurationError("--accept needs the ids of the dead letters to accept")
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
    body = _text(options.body) if options.body else None
    counts: Counter[str] = Counter()
    for id_ in options.ids:
        started = time.monotonic()  # of each request, so that no burst follows a pause
        counts.update(_replay_one(api, id_, body, accept=options.accept))
        time.sleep(max(0.0, 1 / options.per_second - (time.monotonic() - started)))
    write_line(", ".join(f"{number:,} {status}" for status, number in sorted(counts.items())))


def _replay_one(api: Client, id_: int, body: str | None, *, accept: bool) -> list[str]:
    """The outcomes of one dead letter; waits and retries while the API is unavailable or limits the rate.

    Raises:
        ApiError: the outcome is unknown; replaying the dead letter again is safe.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            return [result.status for result in api.replay_dead_letter(id_, body=body, accept=accept)]
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
