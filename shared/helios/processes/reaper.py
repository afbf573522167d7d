"""The process between the supervisor and one service: it ends the service and its children when the supervisor ends.

The reaper runs as ``python -I -S reaper.py USER COMMAND...`` (USER is ``uid:gid`` or empty). It imports little of the
standard library, so that it starts in about 30 ms. Its standard input is the lifeline: a pipe whose other end only
the supervisor holds. The kernel closes that end however the supervisor dies. When the lifeline ends, the reaper kills
every process below it at once. The reaper writes the service's process id to standard output, and exits with the
status of the service.

Why not PR_SET_PDEATHSIG alone: it exists on Linux only, fires when the *thread* that started the service ends, is
cleared by a change of user, and does not reach grandchildren. The reaper uses it as a second safeguard: it ends the
service when the reaper itself is killed.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

SIGNALLED = 128
"""A service ended by signal N makes the reaper exit with 128 + N, as a shell does."""
NOT_STARTED = 127
"""The command could not be run; the log says why. A shell uses the same code."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def descendants(pid: int) -> list[int]:
    """Every living process below this one, by parent or process group."""
    table = _process_table()
    pids = {pid}
    while more := {other for other, above in table.items() if not pids.isdisjoint(above)} - pids:
        pids |= more
    return sorted(pids - {pid})


def _process_table() -> dict[int, tuple[int, int]]:
    """The parent and process group of every process, without zombies, which are dead already."""
    if sys.platform != "linux":
        return _process_table_by_ps()
    table = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The process name before the last ")" may contain any character, spaces and brackets included.
            state, parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process ended during the scan
        if state not in "ZX":
            table[int(entry.name)] = (int(parent), int(group))
    return table


def _process_table_by_ps() -> dict[int, tuple[int, int]]:
    import subprocess  # late: Linux does not need it, and it would double the reaper's start

    listing = subprocess.run(
        ["/bin/ps", "-A", "-o", "pid=,ppid=,pgid=,state="], check=True, capture_output=True, text=True
    )
    rows = (line.split() for line in listing.stdout.splitlines())
    return {int(pid): (int(parent), int(group)) for pid, parent, group, state in rows if not state.startswith("Z")}


def _prctl() -> Callable[[int, int], None]:
    """Linux's prctl, looked up before any fork; elsewhere a function that does nothing."""
    if sys.platform != "linux":
        return lambda _option, _value: None
    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, value: int) -> None:
        if libc.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")

    return prctl


def _become(command: list[str], user: str, prctl: Callable[[int, int], None]) -> None:
    """In the forked child: replace the process by the command, in a session of its own. Never returns."""
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if user:
            uid, gid = map(int, user.split(":"))
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which would clear it
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores SIGPIPE, the command should not
        os.execvp(command[0], command)  # noqa: S606 - no shell, on purpose
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _watch(service: int, lifeline: int, alarm: int) -> int | None:
    """The wait status of the service once it ends, or None once the lifeline ends; reaps other children meanwhile."""
    while True:
        readable, _, _ = select.select([lifeline, alarm], [], [])
        if alarm in readable:
            os.read(alarm, 4096)
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if pid == service:
                    return status
                if not pid:
                    break
        if lifeline in readable and not os.read(lifeline, 1):
            return None


def _kill_all(service: int) -> None:
    """Kill and reap every process below the reaper. On Linux that includes orphans: the reaper is their subreaper."""
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # both mean that the group is empty
            os.killpg(service, signal.SIGKILL)  # on other systems only the group of the service finds orphans
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main() -> int:
    """Run the service until it or the lifeline ends, and leave no process of it."""
    user, command = sys.argv[1], sys.argv[2:]
    prctl = _prctl()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    alarm, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    service = os.fork()
    if service == 0:
        _become(command, user, prctl)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            number, signal.SIG_IGN
        )  # only the lifeline ends the reaper; set after the fork, as the service would inherit it
    os.write(1, f"{service}\n".encode())
    os.close(1)
    status = _watch(service, lifeline=0, alarm=alarm)
    _kill_all(service)
    if status is None:
        return SIGNALLED + signal.SIGKILL
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else SIGNALLED - code


if __name__ == "__main__":
    sys.exit(main())
