"""Every ``helios`` command that a document prints works as it is printed, against a running API and a real Postgres."""

import re
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import pytest

from helios.__main__ import parser
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.model.incidents import Cause
from helios.processes.process import scrubbed_environment
from tests.support.api import ROOT
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import eventbridge
from tests.support.instances import leg
from tests.support.printed_commands import PrintedCommand, printed_commands
from tests.support.receiver import receiving
from tests.support.waiting import awaited

HELIOS = str(Path(sysconfig.get_path("scripts")) / "helios")

NOT_RUN = {
    "serve": "runs until Ctrl-C: test_serve.py and test_wheel.py run it",
    "demo": "runs until Ctrl-C: test_demo.py runs it",
    "sink": "needs a Kafka broker, and runs until SIGTERM",
    "log": "needs a Kafka broker",
    "flink": "needs a log, and runs until Ctrl-C or needs a cluster: the tests of Flink start the job by both commands",
    "tail": "runs until Ctrl-C",
    "archive": "needs days of events that are over: the tests of the archive run these commands",
    "query": "reads the archive, as above",
    "erase": "erases from the archive, as above",
    "withdraw": "needs a flow that only its versions declare: the tests of the versions withdraw one",
    "--leg": "needs a flow instance of which this leg is missing: the tests of recoveries start one",
    "resolutions": "needs flow instances with the printed problems, and an operation with the printed id",
    "--to-webhook": "needs a receiver on the internet, which HELIOS_REPLAY_HOSTS names",
    "--to-cloud": "needs a cloud account with the topic that HELIOS_REPLAY_TOPICS names",
}
"""Commands that are only parsed, by one of their arguments, each with the reason."""

COMMANDS = {
    str(file.relative_to(ROOT)): commands
    for file in (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")))
    if (commands := printed_commands(file))
}


def is_run(command: PrintedCommand) -> bool:
    """Whether a test runs the command."""
    return command.is_fenced and not NOT_RUN.keys() & set(command.arguments)


def test_the_documents_print_commands():
    """Or the tests below would pass because the documents are not read as they are written."""
    assert {"README.md", "docs/operations.md"} <= {name for name in COMMANDS if any(map(is_run, COMMANDS[name]))}


@pytest.mark.parametrize("document", COMMANDS)
def test_every_printed_command_and_option_exists(document, capsys):
    for command in COMMANDS[document]:
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([*command.words, "--help"])
        assert ended.value.code == 0, command
        usage = capsys.readouterr().out
        for option in [text for text in command.arguments if text.startswith("--")]:
            assert re.search(rf"{option}\b", usage), command


@pytest.mark.parametrize("document", COMMANDS)
def test_every_command_that_is_not_run_is_parsed(document):
    for command in COMMANDS[document]:
        if command.is_fenced and not is_run(command):
            assert parser().parse_args(command.arguments).run, command


@pytest.fixture
def notified(tmp_path) -> Iterator[Mapping[str, str]]:
    """The settings of a receiver that is named as in the documents."""
    secret = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret
    with receiving() as receiver:
        file = tmp_path / "notifications.toml"
        file.write_text(f'[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "{receiver.url}"\n')
        yield {
            "HELIOS_NOTIFICATIONS_FILE": str(file),
            "HELIOS_NOTIFICATION_SECRETS": f"ops={secret}",
            "HELIOS_TRUST_LOOPBACK": "true",
        }


@pytest.fixture
def run(api, records, pool, database_url, tmp_path, notified) -> Callable[[PrintedCommand], str]:
    """Runs a command where it finds what it names, and returns its error, or an empty text if it succeeds."""
    assert call(api.url, EVENTBRIDGE, leg("order").body).status == 202
    (tmp_path / "repaired.json").write_bytes(eventbridge("repaired").body)
    (tmp_path / "my-flows.toml").write_bytes((ROOT / "shared" / "helios" / "flows.toml").read_bytes())
    environment = scrubbed_environment(HELIOS_DATABASE_URL=database_url, HELIOS_URL=api.url, **notified)

    def dead_letter_id() -> str:
        """The id of a new dead letter."""
        assert call(api.url, EVENTBRIDGE, b"{").status == 400
        return str(call(api.url, "/api/v1/dead-letters").body["items"][0]["id"])

    def job_id(*options: str) -> str:
        """The id of a new replay job."""
        start = [HELIOS, "replay", "start", "--to-watchers", *options]
        return subprocess.run(
            start, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        ).stdout.split()[0]

    def running_job_id() -> str:
        """The id of a replay job that runs for a minute unless it is cancelled."""
        for number in range(60):
            assert call(api.url, EVENTBRIDGE, eventbridge(f"slow-{number}").body).status == 202
        return job_id("--per-second", "1", "--detach")

    def incident_id() -> str:
        """The id of a new incident."""
        cause = Cause(kind="dead_letters", source="aws", field=token_hex(4))

        def opened() -> int | None:
            """None while the API has the turn."""
            with PostgresIncidents(pool).turn() as turn:
                if not turn:
                    return None
                return turn.open(cause, title="dead letters", severity="warning", at=datetime.now(UTC))

        return str(awaited(opened))

    ids = {
        **{("incidents", action): incident_id for action in ("show", "acknowledge", "assign", "snooze")},
        ("dead-letters", "replay"): dead_letter_id,
        ("replay", "show"): job_id,
        ("replay", "cancel"): running_job_id,
    }

    def run_one(command: PrintedCommand) -> str:
        arguments = [re.sub(r"ORD-[\w-]+", "ORD-1", text) for text in command.arguments]
        action, words = (*command.words, "", "")[:2], command.words
        if action in ids and len(words) > len(action):
            arguments[len(action)] = ids[action]()
        done = subprocess.run(
            [HELIOS, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return f"helios {' '.join(command.arguments)}: {done.stderr}" if done.returncode else ""

    return run_one


@pytest.mark.parametrize("document", [name for name in COMMANDS if any(map(is_run, COMMANDS[name]))])
def test_every_printed_command_succeeds(document, run):
    """In the order of the document, since one may use the result of another."""
    assert [error for command in COMMANDS[document] if is_run(command) and (error := run(command))] == []
