"""The layout of a zip in each cloud: where packages are, who installs them, and the size limits."""

from typing import Final, NamedTuple

MEBIBYTE: Final = 1024 * 1024


class Layout(NamedTuple):
    """One cloud's requirements of a zip.

    Attributes:
        packages: the folder inside the zip that is on ``sys.path``, besides the zip's root.
        vendored: whether the zip contains the requirements; if not, the cloud installs ``requirements.txt``.
        runs_in: the folder into which the cloud unpacks the zip, which tracebacks should show.
        max_zipped: the size limit of the zip, in bytes.
        max_unzipped: the size limit of its contents, in bytes.
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
    # Cloud Run documentation, "Specify dependencies in Python": main.py and requirements.txt are in the root, with
    # local dependencies beside them. Cloud Build installs the rest with pip, which checks the hashes in the file.
    # "Cloud Run functions quotas": the sizes are those of the first generation; none are documented for the second.
    "gcp": Layout(
        packages="",
        vendored=False,
        runs_in="/workspace",
        max_zipped=100 * MEBIBYTE,
        max_unzipped=500 * MEBIBYTE,
    ),
    # Azure Functions documentation, "Build options for Python function apps": without a remote build, dependencies
    # must be in .python_packages/lib/site-packages, and host.json in the root. No size limit is documented for Flex
    # Consumption, so Lambda's is used: a cold start unpacks the zip, and should not unpack more.
    "azure": Layout(
        packages=".python_packages/lib/site-packages",
        vendored=True,
        runs_in="/home/site/wwwroot",
        max_zipped=50 * MEBIBYTE,
        max_unzipped=250 * MEBIBYTE,
    ),
}


LAYER: Final = LAYOUTS["aws"]._replace(packages="python", runs_in="/opt")
"""The layout of a layer of AWS ("Packaging your layer content"). A function and its layers share the limit of what is
unpacked."""


def layout_of(name: str) -> Layout:
    """The layout for a package, by its name: ``aws-ingest`` has AWS' layout, ``aws-archive-layer`` that of layers."""
    return LAYER if name.endswith("-layer") else LAYOUTS[name.split("-", maxsplit=1)[0]]
