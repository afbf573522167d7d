"""``helios notifications``: a test send, the list of messages, and the process that sends until it is stopped."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from helios import __main__ as command_line
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.model.incidents import Cause, Transition
from helios.processes.process import scrubbed_environment
from tests.support.api import ROOT
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import eventually

SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def settings(receiver, database_url, tmp_path) -> Mapping[str, str]:
    file: Path = tmp_path / "notifications.toml"
    file.write_text(f'[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "{receiver.url}"\n[[route]]\nto = ["ops"]\n')
    return {
        "HELIOS_DATABASE_URL": database_url,
        "HELIOS_TRUST_LOOPBACK": "true",
        "HELIOS_NOTIFICATIONS_FILE": str(file),
        "HELIOS_NOTIFICATION_SECRETS": f"ops={SECRET}",
    }


@pytest.fixture
def helios(settings, monkeypatch, capsys):
    """Runs a command, and returns its exit code and what it printed."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str]:
        code = command_line.main(["notifications", *arguments])
        return code, "".join(capsys.readouterr())

    return run


def open_incident(pool) -> str:
    """Open an incident, and return the key of its transition."""
    now = datetime.now(UTC)
    with PostgresIncidents(pool).turn() as turn:
        assert turn
        turn.open(Cause(kind="consumer", consumer="kafka"), title="The consumer kafka", severity="critical", at=now)
        transition = Transition(what="opened", at=now, incident=turn.open_incidents()[0])
        turn.announce([transition])
    return transition.key


def test_a_test_reaches_every_receiver_or_says_which_it_does_not_reach(helios, receiver):
    assert helios("test") == (0, "ops: sent\n")
    receiver.answers = [(500, {}, b"")]
    code, printed = helios("test", "--receiver", "ops")

    assert code == 2
    assert "ops: the webhook answers 500" in printed
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 2
    assert helios("test", "--receiver", "nobody") == (2, "helios: --receiver nobody: the file has ops\n")


def test_the_process_sends_until_it_is_stopped_and_the_list_shows_the_result(helios, settings, receiver, pool):
    command = [sys.executable, "-m", "helios", "notifications", "run"]
    with subprocess.Popen(command, cwd=ROOT, env=scrubbed_environment(**settings), stderr=subprocess.PIPE) as process:
        try:
            key = open_incident(pool)
            eventually(lambda: len(receiver.requests) == 1, seconds=60)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0

    eventually(lambda: "sent" in helios("list")[1], seconds=5)
    code, printed = helios("list", "--csv")
    assert code == 0
    assert printed.startswith("receiver,id,state,transitions,attempts,")
    assert f"ops,{key},sent,1,1," in printed
