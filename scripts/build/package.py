"""Builds one zip per cloud function: the helios wheel, the function's own code and its hash-pinned requirements.

``python -m scripts.build.package [--native | --architecture arm64] [--traces] [NAME ...]``. Every folder below
``functions/`` that has a ``requirements.txt`` is a function; ``functions/aws/ingest`` is called ``aws-ingest`` and
becomes ``build/aws-ingest.zip``. The same inputs give the same bytes, so an unchanged function is not deployed again.
The module ``scripts.build.layouts`` defines the layout of each cloud's zips. A module that several functions of one
cloud share, such as ``functions/aws/_common.py``, is in the zip of each of them, under the same path as here.

With ``--traces`` a zip also has what HELIOS_OTLP_URL requires: the pinned packages of
``functions/traces-requirements.txt``.

``aws-archive-layer`` is a layer: packages of the archive alone, which several functions of AWS get beside their zips.

A zip with requirements also contains their bytecode. A function's folder is read-only, so each cold start would
otherwise compile every module again, which takes three times as long as to import it.

With ``--flows FILE``, ``--sources FILE`` and ``--notifications FILE``, every zip also contains these declarations, as
``flows.toml``, ``sources.toml`` and ``notifications.toml`` in its root. They are so released, and taken back, together
with the code that reads them.
"""

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rich.console import Console
from rich.table import Column, Table

from helios import notifications as notifications_file
from helios.errors import ConfigurationError
from helios.reconciliation import declaration as flow_declaration
from helios.sources import declaration as source_declaration
from scripts.build import layouts
from scripts.build.layouts import MEBIBYTE, Layout, layout_of

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
NATIVE = BUILD / "native"
"""The folder of the packages for this machine."""


class Target(NamedTuple):
    """A platform to build for.

    Attributes:
        platform: the platform of compiled modules, in uv's spelling.
        python: the version of Python.
        folder: the folder of its packages.
    """

    platform: str
    python: str
    folder: Path


LAMBDA_PYTHON = "3.13"
"""AWS Lambda Developer Guide, "Lambda runtimes": Amazon Linux 2023, supported until June 2029. The ``runtime`` of
infra/terraform/aws has the same default."""

TARGETS = {
    "x86_64": Target("x86_64-manylinux_2_28", LAMBDA_PYTHON, BUILD),
    "arm64": Target("aarch64-manylinux_2_28", LAMBDA_PYTHON, BUILD / "arm64"),
}
"""The targets on AWS, by its name of the architecture."""

_ELSEWHERE = Target("x86_64-manylinux_2_28", "3.11", BUILD)
"""The target on the other clouds: their images for Python 3.11 are Debian 11, Ubuntu 22.04 or newer, glibc 2.31."""

_FUNCTIONS = ROOT / "functions"
_TRACES = _FUNCTIONS / "traces-requirements.txt"
"""The requirements of the spans, for all clouds."""
LAYERS = MappingProxyType({"aws-archive-layer": _FUNCTIONS / "archive-requirements.txt"})
"""The requirements of each layer."""
_INSTALL_NOTES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", ".lock"}
"""Files that installers write next to a package: they contain local paths and hashes of files that are left out."""
_NOT_CODE = {"requirements.in", "requirements.txt", "__init__.py"}
"""Files of a function's folder that its zip omits; a cloud that installs the requirements gets them separately."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can store."""


class Package(NamedTuple):
    """A built zip.

    Attributes:
        name: ``aws-ingest``.
        path: the zip.
        zipped: its size in bytes.
        unzipped: the size of its contents in bytes.
        layout: the requirements of its cloud.
        fresh: whether it was built now; False when it was up to date.
    """

    name: str
    path: Path
    zipped: int
    unzipped: int
    layout: Layout
    fresh: bool

    @property
    def fits(self) -> bool:
        """Whether it is within the size limits of its cloud."""
        return self.zipped <= self.layout.max_zipped and self.unzipped <= self.layout.max_unzipped


def target_of(name: str, architecture: str) -> Target:
    """The platform that this function's cloud runs it on."""
    return TARGETS[architecture] if name.startswith("aws-") else _ELSEWHERE


@cache
def interpreter(version: str) -> str | None:
    """The path of a Python of this version, such as ``3.13``, on this machine; None if it has none."""
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python")
    for candidate in (sys.executable, shutil.which(f"python{version}"), *sorted(map(str, installed), reverse=True)):
        question = "import sys; print('%s.%s' % sys.version_info[:2])"
        if candidate and _output(candidate, "-I", "-S", "-c", question) == version:
            return candidate
    return None


def _output(*command: str) -> str | None:
    """What the command prints; None if it fails, as the launcher of an interpreter that is not selected does."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return None if done.returncode else done.stdout.strip()


def names() -> list[str]:
    """Every package: those of the functions, and the layers."""
    return [*functions(), *LAYERS]


def functions() -> dict[str, Path]:
    """The folder of every function by its name."""
    folders = sorted(file.parent for file in _FUNCTIONS.rglob("requirements.txt"))
    return {"-".join(folder.relative_to(_FUNCTIONS).parts): folder for folder in folders}


Declarations = Mapping[str, Path]
"""The files of ``declarations()``."""


def declarations(
    flows: Path | None = None, sources: Path | None = None, notifications: Path | None = None
) -> Declarations:
    """The files that declare flows, sources, and receivers of notifications, by their names in a zip.

    Raises:
        ConfigurationError: a file is missing or wrong; the message names its line and key.
    """
    files = {"flows.toml": flows, "sources.toml": sources, "notifications.toml": notifications}
    declared = source_declaration.load(str(sources) if sources else None)
    flow_declaration.load(str(flows) if flows else None, sources=declared)
    if notifications:
        _check_receivers(notifications)
    return {name: path for name, path in files.items() if path}


def _check_receivers(file: Path) -> None:
    for receiver in notifications_file.load(str(file)).receiver:
        if receiver.kind != "webhook":
            raise ConfigurationError(
                f"{file}: the receiver {receiver.name} is of the kind {receiver.kind}, which needs Apprise, and the "
                "packages lack it. Name webhooks only, or run `helios notifications run` beside the functions."
            )


def build(
    name: str,
    *,
    native: bool,
    architecture: str = "x86_64",
    declared: Declarations = MappingProxyType({}),
    traces: bool = False,
) -> Package:
    """Build one zip, unless it is up to date.

    Args:
        name: one of ``names()``.
        native: build for this machine's platform and Python, into ``NATIVE``, instead of for the cloud.
        architecture: a key of ``TARGETS``; ignored for a native package.
        declared: the user's own declarations.
        traces: add what HELIOS_OTLP_URL requires.

    Raises:
        subprocess.CalledProcessError: a requirement could not be installed; uv has printed the reason.
    """
    machine = None if native else target_of(name, architecture)
    target = (machine.folder if machine else NATIVE) / f"{name}.zip"
    stamp = target.with_suffix(".inputs")
    folder = functions().get(name)  # a layer has no code
    requirements = requirements_of(name, traces=traces)
    declared = declared if folder else {}
    inputs = _digest(folder, requirements, machine, declared)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two demos, or the workers of a test run, may build at the same time
        fresh = not target.exists() or not stamp.exists() or stamp.read_text() != inputs
        if fresh:
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                contents, archive = Path(scratch) / "contents", Path(scratch) / target.name
                if folder:
                    _collect(folder, requirements, contents, layout_of(name), machine)
                else:
                    _collect_layer(requirements, contents, layout_of(name), machine)
                for file, path in declared.items():
                    shutil.copyfile(path, contents / file)
                _zip(contents, archive, level=1 if native else 9)
                stamp.unlink(missing_ok=True)
                archive.replace(target)
            stamp.write_text(inputs)
    with zipfile.ZipFile(target) as archive_file:
        unzipped = sum(entry.file_size for entry in archive_file.infolist())
    return Package(name, target, target.stat().st_size, unzipped, layout_of(name), fresh)


def build_all(
    names: Collection[str],
    *,
    native: bool,
    architecture: str = "x86_64",
    declared: Declarations = MappingProxyType({}),
    traces: bool = False,
) -> list[Package]:
    """Build several packages, one per CPU core at a time; the arguments are those of ``build``."""
    one = partial(build, native=native, architecture=architecture, declared=declared, traces=traces)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, names))


def requirements_of(name: str, *, traces: bool) -> str:
    """The text of a package's pinned requirements."""
    files = [LAYERS[name]] if name in LAYERS else [functions()[name] / "requirements.txt", *[_TRACES] * traces]
    return "".join(file.read_text() for file in files)


def _digest(folder: Path | None, requirements: str, machine: Target | None, declared: Declarations) -> str:
    """A digest of everything that the zip depends on."""
    code = (*_files(folder), *_shared_by(folder), *_wheel_sources()) if folder else ()
    files = (*code, Path(__file__), Path(layouts.__file__))
    cloud = f"{machine and machine[:2]} {_compiler(machine) is not None}"
    texts = "".join(f" {name} {path.read_text()}" for name, path in sorted(declared.items()))
    return _digest_of(
        files, also=f"{cloud if machine else f'{sys.version} {platform.platform()}'}{requirements}{texts}"
    )


def _wheel_sources() -> list[Path]:
    """Every file that the helios wheel depends on."""
    names = ("pyproject.toml", "hatch_build.py", "README.md")
    return [*_files(ROOT / "shared/helios"), *(ROOT / name for name in names), *sorted(ROOT.glob("LICENSE*"))]


def _digest_of(files: Iterable[Path], *, also: str = "") -> str:
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT)} {len(content)}\n".encode())
        digest.update(content)
    digest.update(also.encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Every file below the folder except caches, in a fixed order."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file


def _shared_by(folder: Path) -> list[Path]:
    """The modules beside the function's folder that it may import, and the package that contains them."""
    cloud = folder.parent
    modules = sorted(cloud.glob("*.py")) if cloud != _FUNCTIONS else []
    return [_FUNCTIONS / "__init__.py", *modules] if modules else []


def _compiler(machine: Target | None) -> str | None:
    """A Python whose bytecode works where the package will run; None if this machine has none."""
    return interpreter(machine.python) if machine else sys.executable


def _collect(folder: Path, requirements: str, target: Path, layout: Layout, machine: Target | None) -> None:
    """Copy the requirements, the helios package and the function's own files into the layout's folders."""
    packages = target / layout.packages
    shutil.copytree(_installed.folder(requirements, layout, machine), packages)
    for file in _files(folder):
        if file.name not in _NOT_CODE:
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for file in _shared_by(folder):
        copy = target / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    if not layout.vendored:
        (target / "requirements.txt").write_text(requirements)
    elif python := _compiler(machine):
        own = (file.relative_to(folder) for file in _files(folder) if file.name not in _NOT_CODE)
        shared = (file.relative_to(ROOT) for file in _shared_by(folder))
        if modules := [target / file for file in (*own, *shared) if file.suffix == ".py"]:
            _compile(target, modules, layout.runs_in, python)


def _collect_layer(requirements: str, target: Path, layout: Layout, machine: Target | None) -> None:
    """Install the requirements into the layout's folder."""
    packages = target / layout.packages
    packages.parent.mkdir()
    _install(requirements, packages, machine, wheel=False)
    if python := _compiler(machine):
        _compile(packages, [packages], str(Path(layout.runs_in, layout.packages)), python)


class _Installed:
    """The requirements of functions and the helios package, installed and compiled once for all with the same ones."""

    def __init__(self) -> None:
        self._folders: dict[tuple[str, Target | None, str], Path] = {}
        self._locks: dict[tuple[str, Target | None, str], threading.Lock] = {}
        self._lock = threading.Lock()
        self._scratch = tempfile.TemporaryDirectory(prefix="helios-packages-")

    def folder(self, requirements: str, layout: Layout, machine: Target | None) -> Path:
        """The folder to copy into a package's folder of packages; it must not be changed."""
        runs_in = str(Path(layout.runs_in, layout.packages))
        wheel = _digest_of(_wheel_sources())
        key = (f"{wheel} {requirements if layout.vendored else ''}", machine, runs_in)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._folders:
                target = Path(tempfile.mkdtemp(dir=self._scratch.name)) / "packages"
                _install(requirements if layout.vendored else None, target, machine)
                if layout.vendored and (python := _compiler(machine)):
                    _compile(target, [target], runs_in, python)
                self._folders[key] = target
            return self._folders[key]


_installed = _Installed()


def _install(requirements: str | None, target: Path, machine: Target | None, *, wheel: bool = True) -> None:
    """Install the requirements, if any, and the helios package unless it is left out."""
    where = ["--python", sys.executable]
    if machine:
        where = ["--python-platform", machine.platform, "--python-version", machine.python, "--only-binary", ":all:"]
    install = ["pip", "install", "--quiet", "--target", str(target), "--no-deps", *where]
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        if requirements:
            pinned = Path(scratch) / "requirements.txt"
            pinned.write_text(requirements)
            _uv(*install, "--require-hashes", "--requirement", str(pinned))
        if wheel:
            _uv(*install, str(_wheel(Path(scratch))))
    shutil.rmtree(target / "bin", ignore_errors=True)  # command-line programs, which no function calls
    for leftover in list(target.rglob("__pycache__")):  # uv's settings may enable compilation
        shutil.rmtree(leftover)


def _compile(folder: Path, modules: Sequence[Path], runs_in: str, python: str) -> None:
    """Write bytecode next to these modules and to all in these folders, with the same bytes each time.

    The bytecode is never compared with its source (PEP 552, "unchecked"): a zip stores no exact modification times, so
    bytecode that is checked by time would always be stale. Python sets the path of a module when it loads it.
    """
    how = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", runs_in]
    subprocess.run([python, "-I", "-m", "compileall", *how, *map(str, modules)], check=True)


def _wheel(folder: Path) -> Path:
    """Build the helios wheel, without the dashboard, into this folder, and return its path."""
    build = ["build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable]
    _uv(*build, "--out-dir", str(folder), str(ROOT), BUILD_WITHOUT_DASHBOARD="1")
    return next(folder.glob("*.whl"))


def _uv(*arguments: str, **variables: str) -> None:
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    subprocess.run([uv, *arguments], check=True, env={**os.environ, "UV_LINK_MODE": "copy", **variables})


def _zip(folder: Path, archive: Path, *, level: int) -> None:
    """Zip a folder with a fixed order, times and modes, without files that a function never reads."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as out:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = file.relative_to(folder)
            if file.name in _INSTALL_NOTES or file.suffix == ".pyi":
                continue
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            entry.create_system = 3  # Unix, so that the modes are used
            mode = 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644
            entry.external_attr = (stat.S_IFREG | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, file.read_bytes(), compresslevel=level)


def _show(packages: Sequence[Package]) -> None:
    table = Table(Column("package", no_wrap=True), "zipped", "limit", "unzipped", "limit", "")
    for package in packages:
        layout = package.layout
        table.add_row(
            str(package.path.relative_to(ROOT)),
            f"{package.zipped / 1e6:.1f} MB",
            f"{package.zipped / layout.max_zipped:.0%} of {layout.max_zipped / MEBIBYTE:.0f} MiB",
            f"{package.unzipped / 1e6:.1f} MB",
            f"{package.unzipped / layout.max_unzipped:.0%} of {layout.max_unzipped / MEBIBYTE:.0f} MiB",
            "built" if package.fresh else "up to date",
        )
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the packages, show their sizes, and return 1 if a package exceeds the limits of its cloud."""
    known = names()
    parser = argparse.ArgumentParser(prog="package", description="Build the zips of the cloud functions.")
    machine = parser.add_mutually_exclusive_group()
    machine.add_argument("--native", action="store_true", help="build for this machine instead of the clouds")
    machine.add_argument(
        "--architecture",
        choices=TARGETS,
        default="x86_64",
        help="architecture of Lambda; arm64 packages are written to build/arm64",
    )
    parser.add_argument("--traces", action="store_true", help="add the packages that HELIOS_OTLP_URL requires")
    parser.add_argument("--flows", type=Path, metavar="FILE", help="the flows that the functions use: docs/flows.md")
    parser.add_argument("--sources", type=Path, metavar="FILE", help="sources beside the clouds: docs/sources.md")
    parser.add_argument(
        "--notifications", type=Path, metavar="FILE", help="receivers of notifications: docs/incidents.md"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(known)}; all by default")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(known):
        parser.error(f"no such package: {', '.join(sorted(unknown))}; known packages: {', '.join(known)}")
    selected = options.names or known
    if options.architecture != "x86_64":
        selected = [name for name in selected if name.startswith("aws-")]
    try:
        declared = declarations(options.flows, options.sources, options.notifications)
        packages = build_all(
            selected,
            native=options.native,
            architecture=options.architecture,
            declared=declared,
            traces=options.traces,
        )
    except ConfigurationError as error:
        sys.stderr.write(f"package: {error}\n")
        return 1
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"package: {' '.join(map(str, error.cmd))} failed, see above\n")
        return 1
    _show(packages)
    targets = set() if options.native else {target_of(name, options.architecture).python for name in selected}
    if without := sorted(version for version in targets if interpreter(version) is None):
        sys.stdout.write(
            "Some packages have no bytecode and start more slowly. Install the cloud's version of Python, "
            f"{' and '.join(without)}, and build again.\n"
        )
    return int(not all(package.fits for package in packages))


if __name__ == "__main__":
    sys.exit(main())
