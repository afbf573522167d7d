"""How each cloud wants a function's zip: where the packages lie, who installs them, how large it may be."""

from typing import Final, NamedTuple

MEBIBYTE: Final = 1024 * 1024


class Layout(NamedTuple):
    """What one cloud asks of a zip.

    Attributes:
        packages: the folder inside the zip that is on ``sys.path``, besides the zip's own root.
        vendored: whether the requirements are in the zip; if not, the cloud installs them from ``requirements.txt``.
        runs_in: where the cloud unpacks it: what a traceback should name.
        max_zipped: the largest zip it takes, in bytes.
        max_unzipped: the largest contents it takes, in bytes.
    """

    packages: str
    vendored: bool
    runs_in: str
    max_zipped: int
    max_unzipped: int


LAYOUTS: Final = {
    # AWS Lambda Developer Guide, "Working with .zip file archives for Python Lambda functions" and "Lambda quotas".
    "aws": Layout(
        packages="",
        vendored=True,
        runs_in="/var/task",
        max_zipped=50 * MEBIBYTE,
        max_unzipped=250 * MEBIBYTE,
    ),
    # Cloud Run documentation, "Specify dependencies in Python": main.py and requirements.txt lie in the root, local
    # dependencies beside them; Cloud Build installs the rest, with pip, which checks the hashes that it finds there.
    # "Cloud Run functions quotas": the sizes, of the first generation; for the second one none are stated.
    "gcp": Layout(
        packages="",
        vendored=False,
        runs_in="/workspace",
        max_zipped=100 * MEBIBYTE,
        max_unzipped=500 * MEBIBYTE,
    ),
    # Azure Functions documentation, "Build options for Python function apps": without a remote build, dependencies
    # must lie in .python_packages/lib/site-packages, and host.json in the root. A size is not stated for Flex
    # Consumption; what must be unpacked at a cold start had better stay far below this one, Lambda's.
    "azure": Layout(
        packages=".python_packages/lib/site-packages",
        vendored=True,
        runs_in="/home/site/wwwroot",
        max_zipped=50 * MEBIBYTE,
        max_unzipped=250 * MEBIBYTE,
    ),
}


def layout_of(function: str) -> Layout:
    """The layout for a function by its name: ``aws-ingest`` is AWS'."""
    return LAYOUTS[function.split("-", maxsplit=1)[0]]
