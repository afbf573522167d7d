"""The layout of a function's zip in each cloud: where packages are, who installs them, and the size limits."""

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


UPLOADED: Final = {"aws-archive"}
"""The functions of AWS whose zip Terraform uploads to a bucket first. Only the size of its contents is limited."""


def layout_of(function: str) -> Layout:
    """The layout for a function, by the cloud in its name: ``aws-ingest`` has AWS' layout."""
    layout = LAYOUTS[function.split("-", maxsplit=1)[0]]
    return layout._replace(max_zipped=layout.max_unzipped) if function in UPLOADED else layout
