"""``replays``: stored events, or many dead letters, sent once more as jobs of the API."""

import argparse
import signal
import sys
import time

import msgspec

from helios import bootstrap, logs
from helios.cli.client import Client
from helios.cli.flows import client, common_options, natural
from helios.cli.times import FORM, moment
from helios.errors import ConfigurationError
from helios.model.events import SOURCES
from helios.model.replay import Matching, ReplayFilter, ReplayJob, ReplayRequest, Target

POLL_SECONDS = 0.5
SAY_SECONDS = 10.0
"""From one line of progress to the next."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "send stored events once more: to who watches, to a webhook, or back to a cloud's topic"
    actions = commands.add_parser("replays", help=text, description=text).add_subparsers(dest="action", required=True)
    common = [common_options()]

    start = actions.add_parser("start", help="begin a job with stored events", description=text, parents=common)
    where = start.add_mutually_exclusive_group(required=True)
    where.add_argument("--to-watchers", action="store_true", help="to those who watch, marked as a replay")
    where.add_argument("--to-webhook", metavar="URL", help="to a webhook of HELIOS_REPLAY_HOSTS")
    where.add_argument("--to-cloud", choices=SOURCES, help="back to this cloud's topic in HELIOS_REPLAY_TOPICS")
    start.add_argument("--source", choices=SOURCES, help="only of this cloud")
    start.add_argument("--type", help="only of this type")
    start.add_argument("--order", metavar="ID", help="only of this order")
    period_options(start)
    pace_options(start, per_second=100)
    start.set_defaults(run=_start)

    listing = actions.add_parser("list", help="list the jobs, the newest first", parents=common)
    listing.add_argument("--limit", type=natural, default=20, metavar="N", help="most lines (%(default)s)")
    listing.set_defaults(run=_list)
    for name, run, said in (("show", _show, "show how far a job has come"), ("cancel", _cancel, "end a job that runs")):
        one = actions.add_parser(name, help=said, parents=common)
        one.add_argument("id", type=natural)
        one.set_defaults(run=run)
    said = "work through the jobs that run, then end; the API, or on Lambda a function beside it, does so by itself"
    actions.add_parser("run", help=said, description=said).set_defaults(run=_run)


def period_options(parser: argparse.ArgumentParser) -> None:
    """Which period: ``--since`` and ``--until``."""
    parser.add_argument("--since", type=moment, metavar="TIME", help=f"received at or after this, {FORM}")
    parser.add_argument("--until", type=moment, metavar="TIME", help=f"received before this, at most until now, {FORM}")


def pace_options(parser: argparse.ArgumentParser, *, per_second: int) -> None:
    """How fast, and whether at all and in front of our eyes."""
    parser.add_argument("--per-second", type=natural, default=per_second, metavar="N", help="at most (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="only say how many there are")
    parser.add_argument("--detach", action="store_true", help="do not wait for the end of the job")


def begin(given: argparse.Namespace, api: Client, request: ReplayRequest) -> None:
    """Say what a job would send, or begin it and wait for its end; who stops waiting does not stop the job."""
    if given.dry_run:
        would = api.post("replays", msgspec.structs.replace(request, dry_run=True), Matching)
        sys.stdout.write(_json(would) if given.json else _would(would))
        return
    job = api.post("replays", request, ReplayJob)
    _note(f"replay job {job.id}, which goes on without this command: helios replays show {job.id}")
    said = time.monotonic()
    while job.state == "running" and not given.detach:
        time.sleep(POLL_SECONDS)
        job = api.get(f"replays/{job.id}", ReplayJob)
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            _note(_progress(job))
    _say(given, job)


def _start(given: argparse.Namespace) -> None:
    if given.to_cloud and given.source not in {None, given.to_cloud}:
        raise ConfigurationError(
            f"--to-cloud {given.to_cloud} sends its own events back: leave out --source {given.source}"
        )
    if given.to_cloud:
        target = Target(kind="cloud", cloud=given.to_cloud)
    elif given.to_webhook:
        target = Target(kind="webhook", url=given.to_webhook)
    else:
        target = Target(kind="relay")
    chosen = ReplayFilter(
        source=given.to_cloud or given.source,
        type=given.type,
        order_id=given.order,
        since=given.since,
        until=given.until,
    )
    begin(
        given,
        client(given),
        ReplayRequest(what="events", target=target, filter=chosen, per_second=given.per_second),
    )


def _list(given: argparse.Namespace) -> None:
    for job in client(given).items("replays", ReplayJob, limit=given.limit):
        _say(given, job)


def _show(given: argparse.Namespace) -> None:
    _say(given, client(given).get(f"replays/{given.id}", ReplayJob))


def _cancel(given: argparse.Namespace) -> None:
    _say(given, client(given).post(f"replays/{given.id}/cancel", None, ReplayJob))


def _run(_: argparse.Namespace) -> None:
    """In this process, beside an API or without one; one process works on jobs at a time."""
    settings = bootstrap.configure()
    logs.configure(settings.log_level)
    services = bootstrap.build(settings)
    worker = bootstrap.replay_worker(services)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    try:
        if not worker.run():
            _note("another process works on the jobs")
    finally:
        services.close()


def _say(given: argparse.Namespace, job: ReplayJob) -> None:
    sys.stdout.write(_json(job) if given.json else f"{_progress(job)}\n")


def _progress(job: ReplayJob) -> str:
    """A job as a line; what a target said can't steer the terminal."""
    target = job.target.url or job.target.cloud or job.target.kind
    counts = f"{job.sent:,} sent, {job.failed:,} failed, {job.skipped:,} skipped of {job.matching:,} {_what(job)}"
    error = f"; last: {job.last_error}" if job.last_error else ""
    line = f"{job.id}  {job.state}  to {target}  {counts}  by {job.actor}{error}"
    return "".join(character if character.isprintable() else "?" for character in line)


def _what(job: ReplayJob) -> str:
    return job.what.replace("_", " ")


def _would(found: Matching) -> str:
    if found.oldest is None or found.newest is None:
        return "0 match\n"
    return (
        f"{found.matching:,} match, received {found.oldest:%Y-%m-%d %H:%M:%S} to {found.newest:%Y-%m-%d %H:%M:%S} UTC\n"
    )


def _json(item: object) -> str:
    return msgspec.json.encode(item).decode() + "\n"


def _note(text: str) -> None:
    sys.stderr.write(f"helios: {text}\n")
