"""A service starts, becomes ready, is stopped, and never outlives its supervisor."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helios.processes import reaper
from helios.processes.process import Process, ServiceFailed, scrubbed_environment
from local.stack.config import REPOSITORY
from tests.support.processes import is_alive, wait_until_gone

# A service whose child leaves its session and ignores SIGTERM, so it is hard to find and to end.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
print(os.getpid(), flush=True)
time.sleep(600)
"""

SUPERVISOR = """
import sys, time
from pathlib import Path
from helios.processes.process import Process
process = Process("stubborn", [sys.executable, "-c", Path(sys.argv[1]).read_text()], log=Path(sys.argv[2]))
process.wait_ready(lambda: Path(sys.argv[2]).read_text().count("\\n") == 2, seconds=20)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def orphans(tmp_path):
    """A supervisor with a stubborn service: (the supervisor's process, the ids of the service and its grandchild)."""
    script, log = tmp_path / "stubborn.py", tmp_path / "stubborn.log"
    script.write_text(STUBBORN)
    command = [sys.executable, "-c", SUPERVISOR, str(script), str(log)]
    pids: list[int] = []
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as supervisor:
        try:
            assert supervisor.stdout
            assert supervisor.stdout.readline() == "ready\n"
            pids = [int(line) for line in log.read_text().split()]
            yield supervisor, pids
        finally:
            supervisor.kill()
            for pid in filter(is_alive, pids):  # no other process ends a grandchild whose reaper was killed
                with contextlib.suppress(ProcessLookupError):  # it has ended in the meantime
                    os.kill(pid, signal.SIGKILL)


def test_killing_the_supervisor_leaves_no_orphan(orphans):
    supervisor, pids = orphans
    all_pids = {*pids, *reaper.descendants(supervisor.pid)}
    assert len(pids) == 2
    supervisor.kill()
    assert wait_until_gone(all_pids) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child when its parent has died")
def test_killing_the_reaper_ends_the_service(orphans):
    supervisor, (service, _) = orphans
    reapers = [
        pid for pid in reaper.descendants(supervisor.pid) if "reaper.py" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    for pid in reapers:
        os.kill(pid, signal.SIGKILL)
    assert wait_until_gone([service]) == []


def test_a_service_that_ignores_its_signal_is_killed_with_its_children(tmp_path):
    process = Process("stubborn", [sys.executable, "-c", STUBBORN], log=tmp_path / "log")
    process.wait_ready(lambda: (tmp_path / "log").read_text().count("\n") == 2, seconds=20)
    pids = [int(line) for line in (tmp_path / "log").read_text().split()]
    process.stop(seconds=0.2)
    assert wait_until_gone(pids) == []
    assert process.ending() == "by SIGKILL"


def test_a_service_that_ends_on_its_signal_is_not_killed(tmp_path):
    process = Process("sleep", ["sleep", "600"], log=tmp_path / "log")
    process.stop()
    assert process.ending() == "by SIGTERM"


def test_an_early_end_is_reported_with_the_last_lines_of_this_run(tmp_path):
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    process = Process("short", ["sh", "-c", "echo the reason; exit 3"], log=log)
    with pytest.raises(ServiceFailed) as failed:
        process.wait_ready(lambda: False, seconds=20)
    assert str(failed.value) == f"short ended with exit code 3 before it was ready.\nThe end of {log}:\n  | the reason"


def test_a_service_that_never_becomes_ready_is_ended(tmp_path):
    process = Process("mute", ["sleep", "600"], log=tmp_path / "log")
    with pytest.raises(ServiceFailed, match=r"mute was not ready within 0.2 s"):
        process.wait_ready(lambda: False, seconds=0.2)
    assert not process.running


def test_the_error_for_a_missing_program_names_it(tmp_path):
    process = Process("nothing", ["/nonexistent/program"], log=tmp_path / "log")
    with pytest.raises(ServiceFailed, match=r"/nonexistent/program: .*No such file"):
        process.wait_ready(lambda: False, seconds=20)


def test_a_service_does_not_inherit_the_environment_of_the_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    process = Process("env", ["env"], log=tmp_path / "log", env=scrubbed_environment(HELIOS_LOG_LEVEL="DEBUG"))
    process.finish(seconds=20)
    environment = (tmp_path / "log").read_text()
    assert "HELIOS_LOG_LEVEL=DEBUG" in environment
    assert "AWS_PROFILE" not in environment
