"""``helios replay``: sends stored events again, as jobs of the API."""

import argparse
import signal
import time

from helios import bootstrap, logs
from helios.cli import database
from helios.cli.flows import client, common_options, positive_int, source_name
from helios.cli.listing import write_for_programs, write_rows
from helios.cli.terminal import note, write_json, write_line
from helios.cli.times import TIME_FORMAT, moment, utc_text
from helios.client import Client
from helios.errors import ConfigurationError
from helios.model.replay import Matching, ReplayFilter, ReplayJob, ReplayRequest, Target
from helios.model.sources import BUILT_IN
from helios.ports.leases import PATIENCE_SECONDS

POLL_SECONDS = 0.5
PROGRESS_SECONDS = 10.0
"""Time between two lines of progress."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "send stored events again: to the live stream, to a webhook, or back to a cloud's topic"
    actions = commands.add_parser("replay", help=text, description=text).add_subparsers(dest="action", required=True)
    common = [common_options()]

    start = actions.add_parser("start", help="start a job that sends stored events", description=text, parents=common)
    target = start.add_mutually_exclusive_group(required=True)
    target.add_argument("--to-watchers", action="store_true", help="to the live stream's clients, marked as a replay")
    target.add_argument("--to-webhook", metavar="URL", help="to a webhook on a host of HELIOS_REPLAY_HOSTS")
    target.add_argument(
        "--to-cloud",
        choices=BUILT_IN,
        metavar="CLOUD",
        help=f"back to this cloud's topic in HELIOS_REPLAY_TOPICS: {', '.join(BUILT_IN)}",
    )
    start.add_argument("--source", type=source_name, metavar="NAME", help="only events of this source")
    start.add_argument("--type", help="only events of this type")
    start.add_argument("--order", metavar="ID", help="only events of this order")
    period_options(start)
    rate_options(start, per_second=100)
    start.set_defaults(run=_start)

    listing = actions.add_parser("list", help="list the jobs, the newest first", parents=[common_options(lists=True)])
    listing.add_argument("--limit", type=positive_int, default=20, metavar="N", help="at most N lines (%(default)s)")
    listing.set_defaults(run=_list)
    for name, run, text in (
        ("show", _show, "show the progress of a job"),
        ("cancel", _cancel, "cancel a running job"),
    ):
        action = actions.add_parser(name, help=text, description=text, parents=common)
        action.add_argument("id", type=positive_int, help="the job's id")
        action.set_defaults(run=run)
    text = (
        "work on the running jobs until all have ended. The API does this without a command, and so does the replays "
        "function on AWS. This one reads and writes the database of HELIOS_DATABASE_URL"
    )
    worker = actions.add_parser("run", help="work on the running jobs until all have ended", description=text)
    worker.set_defaults(run=_run)


def period_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--since`` and ``--until``, which choose a period."""
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help=f"only what was received at or after this time, {TIME_FORMAT}"
    )
    parser.add_argument(
        "--until",
        type=moment,
        metavar="TIME",
        help=f"only what was received before this time, now at the latest, {TIME_FORMAT}",
    )


def rate_options(parser: argparse.ArgumentParser, *, per_second: int) -> None:
    """Add the options that say how fast to replay, whether to send at all, and whether to wait for the end."""
    parser.add_argument(
        "--per-second", type=positive_int, default=per_second, metavar="N", help="at most N a second (%(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only count what would be sent")
    parser.add_argument("--detach", action="store_true", help="do not wait for the end of the job")


def start_job(options: argparse.Namespace, api: Client, request: ReplayRequest) -> None:
    """Start a job and wait for its end, or only count what it would send; Ctrl-C does not stop the job."""
    if options.dry_run:
        matching = api.count_replay(request)
        if options.json:
            write_json(matching)
        else:
            write_line(_matching_line(matching))
        return
    job = api.start_replay(request)
    note(f"started replay job {job.id}; it continues when this command ends: helios replay show {job.id}")
    reported_at = time.monotonic()
    while job.state == "running" and not options.detach:
        time.sleep(POLL_SECONDS)
        job = api.replay(job.id)
        if time.monotonic() - reported_at > PROGRESS_SECONDS:
            reported_at = time.monotonic()
            note(_job_line(job))
    _print(options, job)


def _start(options: argparse.Namespace) -> None:
    if options.to_cloud and options.source not in {None, options.to_cloud}:
        raise ConfigurationError(
            f"--to-cloud {options.to_cloud} sends only events of {options.to_cloud}. "
            f"Leave out --source {options.source}."
        )
    if options.to_cloud:
        target = Target(kind="cloud", cloud=options.to_cloud)
    elif options.to_webhook:
        target = Target(kind="webhook", url=options.to_webhook)
    else:
        target = Target(kind="relay")
    where = ReplayFilter(
        source=options.to_cloud or options.source,
        type=options.type,
        order_id=options.order,
        since=options.since,
        until=options.until,
    )
    start_job(
        options,
        client(options),
        ReplayRequest(what="events", target=target, filter=where, per_second=options.per_second),
    )


def _list(options: argparse.Namespace) -> None:
    jobs = client(options).replays(limit=options.limit)
    if not write_for_programs(options, jobs, ReplayJob.__struct_fields__):
        write_rows(map(_job_line, jobs), none="There is no replay job.")


def _show(options: argparse.Namespace) -> None:
    _print(options, client(options).replay(options.id))


def _cancel(options: argparse.Namespace) -> None:
    _print(options, client(options).cancel_replay(options.id))


def _run(_: argparse.Namespace) -> None:
    """Work in this process, with or without an API; only one process works on jobs at a time."""
    settings = database.configure()
    logs.configure(settings.log_level)
    services = bootstrap.build(settings)
    worker = bootstrap.replay_worker(services)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.stop())
    try:
        if not worker.run(patience_seconds=PATIENCE_SECONDS):
            note("another process is working on the jobs")
    finally:
        services.close()


def _print(options: argparse.Namespace, job: ReplayJob) -> None:
    if options.json:
        write_json(job)
    else:
        write_line(_job_line(job))


def _job_line(job: ReplayJob) -> str:
    """A job as a line."""
    target = job.target.url or job.target.cloud or job.target.kind
    what = job.what.replace("_", " ")
    counts = f"{job.sent:,} sent, {job.failed:,} failed, {job.skipped:,} skipped of {job.matching:,} {what}"
    error = f"; last error: {job.last_error}" if job.last_error else ""
    return f"{job.id}  {job.state}  to {target}  {counts}  by {job.actor}{error}"


def _matching_line(matching: Matching) -> str:
    if matching.oldest is None or matching.newest is None:
        return "0 match"
    return f"{matching.matching:,} match, received from {utc_text(matching.oldest)} to {utc_text(matching.newest)}"
