"""The build hook of the wheel and of the source archive: both contain the built dashboard.

So an installed Helios needs no Node. The packages of the cloud functions contain no dashboard:
``scripts.build.package`` sets ``BUILD_WITHOUT_DASHBOARD``.
"""

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "BUILD_WITHOUT_DASHBOARD"
FOLDER_IN_WHEEL = "helios/dashboard"


class DashboardHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling finds the class by this base alone
    """Adds the output of the dashboard's build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to a build.

        Args:
            version: ``standard``, or ``editable`` for an installation that uses the files of the clone.
            build_data: the options of the build; ``force_include`` maps a path to its place in the archive.

        Raises:
            FileNotFoundError: the dashboard is not built.
        """
        if version == "editable" or os.environ.get(VARIABLE):
            return
        built = Path(self.root, "dashboard", "dist")
        if not (built / "index.html").is_file():
            raise FileNotFoundError(
                f"{built} contains no built dashboard, which the wheel of Helios contains. Run `make wheel`."
            )
        target = FOLDER_IN_WHEEL if self.target_name == "wheel" else "dashboard/dist"
        build_data["force_include"][str(built)] = target
