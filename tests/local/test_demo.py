"""The demo as a user runs it: one command starts it, one stops it, and no process is left however it ends."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from websockets.sync.client import connect

from helios.embedded.postgres import Postgres
from helios.processes import reaper
from helios.processes.ports import HOST
from local.aws import deployer, ministack
from local.demo import stats
from local.stack import config
from tests.support import small_disk
from tests.support.paths import awkward_folder
from tests.support.processes import wait_until_gone
from tests.support.small_disk import SmallDisk
from tests.support.waiting import eventually

RATE = 20
"""Events per second of the traffic on the full disk."""

START_SECONDS = 180
"""The first start on a machine installs ministack and builds the packages."""


class RunningDemo:
    """A demo with ports of its own, and a state folder of its own whose path is an awkward one."""

    def __init__(self, folder, options, chosen, wrapper=()):
        settings = {"state": awkward_folder(folder)} | config.free_port_fields() | chosen
        self.environ = os.environ | {config.variable(field): str(value) for field, value in settings.items()}
        self.config = config.load(self.environ)
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "local.demo", *options],
                cwd=config.REPOSITORY,
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, text, seconds=START_SECONDS):
        """The output so far, once it contains the text."""
        deadline = time.monotonic() + seconds
        while text not in (output := self.output.read_text()):
            assert self.process.poll() is None, output
            assert time.monotonic() < deadline, output
            time.sleep(0.05)
        return output

    def wait_for_stats(self, condition, seconds=60):
        """The API's stats, once this holds for them."""
        deadline = time.monotonic() + seconds
        while not ((now := stats.fetch(f"{HOST}:{self.config.api_port}")) and condition(now)):
            assert time.monotonic() < deadline, now
            time.sleep(0.05)
        return now

    def wait(self, seconds=START_SECONDS):
        """The exit status and the whole output."""
        return self.process.wait(seconds), self.output.read_text()

    def service(self, name):
        """The process id of a service, by a word of its command line."""
        return next(pid for pid, words in self.commands().items() if name in words and "reaper.py" not in words)

    def commands(self):
        """The command line of every process of the demo by its id."""
        pids = ",".join(map(str, reaper.descendants(self.process.pid)))
        listing = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "-p", pids], capture_output=True, check=True, text=True
        )
        rows = (line.split(maxsplit=1) for line in listing.stdout.splitlines())
        return {int(pid): words for pid, words in rows}


@pytest.fixture
def demo(tmp_path):
    """Starts a demo with these options; it is ended however the test ends."""
    demos = []

    def start(*options, wrapper=(), **settings):
        demos.append(RunningDemo(tmp_path, options, settings, wrapper))
        return demos[-1]

    yield start
    for one in demos:
        pids = reaper.descendants(one.process.pid)
        one.process.kill()
        one.process.wait()
        assert wait_until_gone(pids) == []
        # As root its data lie outside the test's folder.
        Postgres(one.config.folder / "postgres", one.config.postgres_port, log=one.output).discard()


def summary_of(output):
    """The counts of the demo's summary."""
    rows = re.findall(r"^ +([\d,]+)  ([a-z ]{13})  [a-z]", output, re.MULTILINE)
    return {name.rstrip(): int(count.replace(",", "")) for count, name in rows}


def test_a_timed_run_accounts_for_every_event(demo):
    status, output = demo("--duration", "5", "--rate", "20").wait()
    assert status == 0, output
    counts = summary_of(output)
    assert counts["sent"] == 100
    assert counts["lost"] == counts["not accepted"] == 0
    arrived = counts["stored"] + counts["duplicate"] + counts["contradictory"] + counts["rejected"]
    assert arrived + counts["undelivered"] >= 100
    assert "First traffic event stored" in output


def test_the_events_of_every_cloud_reach_the_dashboard_s_stream(demo):
    """The dashboard's stream is API Gateway's WebSocket, which only the relay function on AWS feeds."""
    run = demo("--rate", "20")
    run.wait_for("Helios is ready")
    with urllib.request.urlopen(f"http://{HOST}:{run.config.dashboard_port}/config.js", timeout=20) as answer:
        stream = re.search(r'"wsUrl": "(ws://[^"]+)"', answer.read().decode())
    assert stream
    ask = urllib.request.Request(f"{run.config.api_url}/api/v1/ws/tickets", method="POST")
    with urllib.request.urlopen(ask, timeout=20) as answer:
        ticket = json.load(answer)["ticket"]
    sources: set[str] = set()
    with connect(f"{stream[1]}?ticket={ticket}", proxy=None, open_timeout=60) as socket:
        while sources != {"aws", "gcp", "azure"}:
            frames = json.loads(socket.recv(timeout=60))["frames"]
            sources |= {event["source"] for frame in frames for event in frame["events"]}


def test_an_api_that_dies_is_restarted_and_stop_ends_every_process(demo):
    run = demo("--no-traffic")
    output = run.wait_for("Helios is ready")
    assert f"dashboard   {run.config.dashboard_url}" in output
    os.kill(run.service("helios.api"), signal.SIGKILL)
    run.wait_for("api ended by SIGKILL. Restarting it.", seconds=60)
    run.wait_for_stats(lambda _: True)
    pids = reaper.descendants(run.process.pid)
    stop = [sys.executable, "-m", "local.demo.stop"]
    stopped = subprocess.run(stop, cwd=config.REPOSITORY, env=run.environ, check=True, capture_output=True, text=True)
    assert stopped.stdout == "The demo has stopped.\n"
    assert run.wait()[0] == 0
    assert wait_until_gone(pids) == []


SERVICES = (
    *("postgres", "valkey-server", "helios.api", "local.demo.dashboard", "scripts.simulator"),
    *("run_ministack.py", "_worker.py"),  # AWS, and a function on it
    *("local.emulators.pubsub", "local.emulators.cloud_run"),
    *("local.emulators.eventgrid", "local.emulators.azure_host", "local.canary"),
)
"""A word of the command line of each."""

CANARY_EVENTS = 2
"""Events of each cloud that are stored before the traffic begins."""


def test_kill_9_of_a_demo_under_load_leaves_no_orphan(demo):
    run = demo("--rate", "50")
    run.wait_for("First traffic event stored")
    run.wait_for_stats(lambda stats: min(stats.events_by_source.values()) > CANARY_EVENTS)
    commands = run.commands()
    for service in SERVICES:
        assert any(service in words for words in commands.values()), service
    run.process.kill()
    run.process.wait()
    assert wait_until_gone(commands) == []


@pytest.fixture
def unfinished_dashboard():
    """Keeps every build of the dashboard waiting, so that no demo is ready."""
    with (config.REPOSITORY / "dashboard" / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_ends_with_one_sentence_and_leaves_nothing(demo, number, unfinished_dashboard):
    run = demo("--no-traffic")
    run.wait_for("valkey          ready")
    pids = reaper.descendants(run.process.pid)
    run.process.send_signal(number)
    status, output = run.wait(60)
    assert status == 130, output
    ending = "Interrupted during the start, before any event was sent. Every service has been stopped."
    assert output.splitlines()[-1] == ending
    assert "Traceback" not in output
    assert wait_until_gone(pids) == []


def test_a_start_that_is_interrupted_during_the_traffic_accounts_for_every_event(demo, unfinished_dashboard):
    run = demo("--rate", "50", "--error-rate", "0")
    run.wait_for("First traffic event stored")
    run.process.send_signal(signal.SIGINT)
    status, output = run.wait()
    assert "Helios is ready" not in output
    counts = summary_of(output)
    assert (status, counts["lost"], counts["not accepted"]) == (130, 0, 0), output
    assert counts["stored"] >= counts["sent"] > 0


@pytest.mark.slow  # sets AWS up twice, and waits for what is lost
def test_an_aws_that_dies_is_set_up_again_and_the_summary_reports_its_lost_events(demo):
    """The emulator holds its queues in memory, so the events in them are lost while no function receives them."""
    run = demo("--rate", "20", "--error-rate", "0")
    run.wait_for("First traffic event stored")
    run.wait_for_stats(lambda stats: min(stats.events_by_source.values()) > CANARY_EVENTS)
    aws = run.service("run_ministack.py")
    for worker in ministack.workers(aws):
        os.kill(worker, signal.SIGSTOP)
    waiting = run.wait_for_stats(lambda _: True).events_by_source
    run.wait_for_stats(lambda stats: stats.events_by_source["gcp"] > waiting["gcp"] + 20)
    os.kill(aws, signal.SIGKILL)
    output = run.wait_for("canary set up again", seconds=120)
    assert "aws ended by SIGKILL. Restarting it." in output
    assert "aws starts empty: the events that it had accepted and not delivered are lost." in output
    back = run.wait_for_stats(lambda _: True).events_by_source
    run.wait_for_stats(lambda stats: stats.events_by_source["aws"] > back["aws"] + CANARY_EVENTS + 10)
    run.process.send_signal(signal.SIGINT)
    status, output = run.wait()

    counts = summary_of(output)
    assert (status, counts["not accepted"]) == (1, 0), output
    assert counts["lost"] > 0
    assert f"{counts['lost']:,} of them accepted by aws" in output
    assert counts["sent"] <= counts["stored"] + counts["duplicate"] + counts["rejected"] + counts["lost"]


def test_a_service_whose_data_is_lost_ends_the_demo_with_its_name_and_its_summary(demo):
    run = demo("--rate", "20")
    run.wait_for("First traffic event stored")
    os.kill(run.service("local.servers.kafka"), signal.SIGKILL)
    status, output = run.wait()
    assert status == 1
    assert "kafka ended by SIGKILL. It can't be restarted, so everything stops." in output
    assert summary_of(output)["lost"] == 0


@pytest.fixture
def disk(tmp_path):
    """A disk that is large enough for a demo and can be filled."""
    if reason := small_disk.refused():
        pytest.skip(reason)
    with SmallDisk(tmp_path / "disk", megabytes=1_200, log=tmp_path / "disk.log") as running:
        yield running


@pytest.mark.slow  # fills a disk, and waits until the traffic is stored after all
def test_on_a_full_disk_the_last_line_says_why_nothing_is_stored(disk, demo):
    wrapper = disk.wrapper_of_a_user(config.REPOSITORY)
    run = demo("--rate", str(RATE), "--error-rate", "0", state=disk.path / "state", wrapper=wrapper)
    run.wait_for("Helios is ready")
    run.wait_for_stats(lambda now: min(now.events_by_source.values()) > 20)  # the functions are unpacked on this disk
    why = re.compile(r"Nothing is stored now\. The database is unhealthy: .*No space left on device")

    def says_why() -> bool:
        disk.fill()  # again: the servers delete files of their own
        return bool(why.search(run.output.read_text()))

    eventually(says_why, seconds=120)

    disk.free()
    eventually(lambda: "database healthy" in run.output.read_text().splitlines()[-1], seconds=60)
    # SQS delivers a refused batch again after a minute, in which as many events are stored as are sent.
    stored = run.wait_for_stats(lambda _: True).total_events
    later = stored + RATE * (deployer.VISIBILITY_SECONDS + 10)
    run.wait_for_stats(lambda now: now.total_events > later, seconds=4 * deployer.VISIBILITY_SECONDS)
    run.process.send_signal(signal.SIGINT)
    status, output = run.wait()
    assert (status, summary_of(output)["lost"]) == (0, 0), output


def test_a_port_in_use_is_reported_before_any_service_starts(demo):
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        status, output = demo(postgres_port=port).wait(60)
    assert status == 2
    assert f"Port {port}, which postgres needs, is in use" in output
    assert "HELIOS_LOCAL_POSTGRES_PORT" in output


def test_for_a_developer_the_code_is_loaded_again_and_psql_opens_the_database(demo):
    run = demo("--no-traffic", "--reload")
    run.wait_for("Helios is ready")
    with urllib.request.urlopen(f"http://{HOST}:{run.config.dashboard_port}/", timeout=20) as answer:
        assert "/@vite/client" in answer.read().decode()

    (config.REPOSITORY / "shared/helios/__init__.py").touch()
    log = run.config.log("api")
    eventually(
        lambda: "Reloading..." in log.read_text() and log.read_text().count("Started server process") >= 2, seconds=90
    )
    run.wait_for_stats(lambda _: True)

    psql = [sys.executable, "-m", "local.demo.psql", "-Atc", "SELECT count(*) > 0 FROM events"]
    ended = subprocess.run(psql, cwd=config.REPOSITORY, env=run.environ, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("t\n", "")


def test_without_a_demo_psql_says_how_to_start_one(tmp_path):
    environ = os.environ | {config.variable("state"): str(tmp_path)}
    psql = [sys.executable, "-m", "local.demo.psql"]
    ended = subprocess.run(psql, cwd=config.REPOSITORY, env=environ, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == "No demo is running. Start one with `make local-demo` or `make dev`.\n"
