"""``helios serve`` with no settings: all of Helios, with a Postgres and a Valkey of its own, in one folder."""

import gzip
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helios.client import Client
from helios.embedded import credentials
from helios.embedded.credentials import DatabaseCredentials
from helios.processes import reaper
from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import scrubbed_environment
from helios.processes.server import Command
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import eventbridge
from tests.support.paths import awkward_folder
from tests.support.processes import wait_until_gone
from tests.support.waiting import eventually

START_SECONDS = 90
HELIOS = [sys.executable, "-m", "helios"]


class Serve(Command):
    """One run of ``helios serve``; the same port and the same folder after a restart."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.data = folder / "helios"
        self.environment = scrubbed_environment(XDG_DATA_HOME=str(folder), **settings)
        super().__init__(
            "serve",
            [*HELIOS, "serve", "--port", str(self.port), "--data", str(self.data), *options],
            env=self.environment,
            ready=answers(f"http://{HOST}:{self.port}/api/v1/health"),
            log=folder / "serve.log",
            start_seconds=START_SECONDS,
            stop_seconds=60,
        )

    def start(self) -> None:
        """Start, and return once the banner is printed."""
        super().start()
        eventually(lambda: "Helios is ready" in self.output())

    def output(self) -> str:
        """What the last run has printed."""
        return self._running.tail(lines=1000)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """An empty folder that root's Postgres, which runs as another user, can reach; its path is an awkward one."""
    path = Path(tempfile.mkdtemp(prefix="helios-serve-"))
    path.chmod(0o755)
    awkward = awkward_folder(path)
    awkward.mkdir(mode=0o755)
    yield awkward
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def running(folder) -> Iterator[Serve]:
    with Serve(folder) as server:
        yield server


@pytest.fixture
def serve(folder, running) -> Serve:
    """The running Helios; a test that ends it finds it started again."""
    if not running._running.running:
        running.start()
    return running


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def get(url: str, **headers: str) -> tuple[dict[str, str], bytes]:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def refused(*arguments: str, **settings: str) -> tuple[int, str]:
    """The exit code and the error of a ``helios serve`` that can't start."""
    ended = subprocess.run(
        [*HELIOS, "serve", *arguments],
        env=scrubbed_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stderr


def test_an_event_that_is_posted_is_stored_and_can_be_read(serve):
    assert call(serve.url, EVENTBRIDGE, eventbridge("first").body).status == 202
    assert "first" in [event["id"] for event in call(serve.url, "/api/v1/events").body["items"]]


def test_every_part_is_healthy(serve):
    def parts() -> tuple[str, str, str]:
        health = call(serve.url, "/api/v1/health/detailed").body
        return health["status"], health["database"], health["redis"]

    eventually(lambda: parts() == ("healthy", "healthy", "healthy"))


def test_the_dashboard_is_served_with_its_own_address_and_policy(serve):
    headers, page = get(f"{serve.url}/")
    _, config = get(f"{serve.url}/config.js")
    assert b'<div id="root">' in page
    assert b"apiUrl: location.origin" in config
    assert "connect-src 'self';" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-cache"


def test_the_scripts_of_the_dashboard_are_compressed_and_cached(serve):
    _, page = get(f"{serve.url}/")
    (script,) = [match.decode() for match in re.findall(rb'src="(/assets/[^"]+\.js)"', page)]
    headers, body = get(serve.url + script, **{"accept-encoding": "gzip"})
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-encoding"] == "gzip"
    assert len(gzip.decompress(body)) > len(body)


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/assets/nothing.js", "/assets/../config.js", "/nothing"])
def test_what_is_no_file_is_a_problem(serve, path):
    answer = call(serve.url, path)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_replay_worker_and_the_relay_run(serve):
    assert call(serve.url, EVENTBRIDGE, eventbridge("replayed").body).status == 202
    body = b'{"what": "events", "target": {"kind": "relay"}}'
    job = call(serve.url, "/api/v1/replays", body).body
    eventually(lambda: call(serve.url, f"/api/v1/replays/{job['id']}").body["state"] == "done")
    assert any(frame.replay == job["id"] for frame in Client(serve.url).frames().frames)


def test_only_its_user_can_read_the_folder(serve):
    expected = 0o711 if os.geteuid() == 0 else 0o700
    assert mode(serve.data) == expected
    assert (mode(serve.data / "state"), mode(serve.data / "postgres")) == (0o700, 0o700)
    for file in ("credentials.json", "database-url", "logs/api.log"):
        assert mode(serve.data / "state" / file) == 0o600


def test_the_passwords_are_random_and_in_no_command_line(serve):
    passwords = credentials.load(serve.data / "state", DatabaseCredentials, remedy="")
    assert len({passwords.postgres, passwords.postgres_superuser, passwords.valkey}) == 3
    for pid in reaper.descendants(serve.pid):
        command = b""
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended in the meantime
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert passwords.postgres.encode() not in command
        assert passwords.valkey.encode() not in command


def test_the_banner_says_where_the_data_are(serve):
    output = serve.output()
    assert f"its own, in {serve.data / 'postgres'}" in output
    assert f"http://localhost:{serve.port}" in output
    assert "need no credentials" in output


def test_other_commands_find_the_running_database(serve):
    """As ordinary users: root's default folder is not below XDG_DATA_HOME."""
    url = (serve.data / "state" / "database-url").read_text().strip()
    known = {"HELIOS_DATABASE_URL": url} if os.geteuid() == 0 else {}
    for arguments in (["create", "--name", "me", "--scope", "read"], ["list"]):
        subprocess.run([*HELIOS, "tokens", *arguments], env=serve.environment | known, check=True, timeout=60)


def test_a_second_run_in_the_folder_is_refused(serve):
    code, error = refused("--data", str(serve.data), "--port", str(free_port()))
    assert (code, error) == (2, f"helios: helios serve already uses {serve.data} (process {serve.pid}).\n")


def test_a_crashed_api_is_started_again(serve):
    (api,) = [pid for pid in reaper.descendants(serve.pid) if _runs(pid, "helios.api")]
    os.kill(api, signal.SIGKILL)
    eventually(lambda: "api ended by SIGKILL. Restarting it." in serve.output())
    eventually(lambda: _answers(serve), seconds=60)


def test_events_and_passwords_survive_a_restart(serve):
    assert call(serve.url, EVENTBRIDGE, eventbridge("kept").body).status == 202
    before = (serve.data / "state" / "credentials.json").read_bytes()
    serve.stop()
    assert not (serve.data / "state" / "database-url").exists()
    serve.start()
    assert "kept" in [event["id"] for event in call(serve.url, "/api/v1/events").body["items"]]
    assert (serve.data / "state" / "credentials.json").read_bytes() == before


def test_kill_9_leaves_no_process(serve):
    pids = reaper.descendants(serve.pid)
    os.kill(serve.pid, signal.SIGKILL)
    assert len(pids) >= 4
    assert wait_until_gone(pids) == []


def test_an_interrupted_start_ends_with_one_sentence_and_leaves_no_process(folder, tmp_path):
    """The database accepts connections and does not answer, so that the migrations do not end."""
    output = tmp_path / "output"
    with socket.create_server((HOST, 0)) as silent, output.open("w") as file:
        url = f"postgresql://helios@{HOST}:{silent.getsockname()[1]}/helios"
        with subprocess.Popen(
            [*HELIOS, "serve", "--port", str(free_port()), "--data", str(folder / "interrupted")],
            env=scrubbed_environment(HELIOS_DATABASE_URL=url, HELIOS_TRUST_LOOPBACK="true"),
            stdout=file,
            stderr=file,
        ) as process:
            eventually(lambda: any(_runs(pid, "migrate") for pid in reaper.descendants(process.pid)), seconds=60)
            pids = reaper.descendants(process.pid)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
    assert output.read_text() == "helios: Interrupted during the start. Every service has been stopped.\n"
    assert wait_until_gone(pids) == []


def test_a_database_that_is_configured_is_used_and_every_request_needs_credentials(folder, database_url):
    settings = {"HELIOS_DATABASE_URL": database_url, "HELIOS_WEBHOOK_AUTH": "eventbridge=key"}
    secret = {"HELIOS_EVENTBRIDGE_SECRET": "a-secret-of-the-sender"}  # pragma: allowlist secret
    with Serve(folder / "other", "--log-to", "stderr", **settings, **secret) as serve:
        assert call(serve.url, EVENTBRIDGE, eventbridge("anonymous").body).status == 401
        assert call(serve.url, "/api/v1/events").status == 401
        assert "helios tokens create" in serve.output()
        assert database_url.rpartition("@")[0] not in serve.output()
        assert not serve.data.exists()


def test_every_obstacle_is_named_at_once(folder):
    file = folder / "file"
    file.write_text("")
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        code, error = refused("--data", str(file / "data"), "--port", str(port))
    first, second = (line.removeprefix("helios: ") for line in error.splitlines())
    assert code == 2
    assert first == f"{file} is not a folder. Choose another folder with --data."
    assert re.match(rf"Port {port}, which the API needs, is in use by .*, or set --port to another port\.", second)


def test_a_configured_database_needs_the_authentication_of_senders(folder, database_url):
    code, error = refused("--data", str(folder / "none"), HELIOS_DATABASE_URL=database_url)
    assert code == 2
    assert error.startswith("helios: HELIOS_WEBHOOK_AUTH is not set. ")
    assert error.count("\n") == 1


def test_a_wrong_setting_is_named_before_anything_starts(folder):
    code, error = refused("--data", str(folder / "none"), HELIOS_DATABASE_URL="x", HELIOS_DEDUPE_TTL_SECONDS="0")
    assert code == 2
    assert error.startswith("helios: HELIOS_DEDUPE_TTL_SECONDS: ")
    assert not (folder / "none").exists()


def _answers(serve: Serve) -> bool:
    try:
        return call(serve.url, "/api/v1/health").status == 200
    except OSError:
        return False


def _runs(pid: int, program: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return f"\0{program}\0" in command and reaper.__file__ not in command
