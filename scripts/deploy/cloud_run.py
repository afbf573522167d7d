"""The revisions of the functions on Google Cloud: each is a service of Cloud Run, which divides calls by percentage.

Terraform deploys a function with ``all_traffic_on_latest_revision = false``. Google then leaves the traffic of the
service as it is: a new revision gets no calls as long as the traffic names revisions, which a release sees to. Only
the first revision of a function gets calls before its release.

Google deletes old revisions itself: a service has at most 1,000.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import google.auth
from google.auth.exceptions import DefaultCredentialsError, TransportError
from google.auth.transport.requests import AuthorizedSession
from requests import RequestException

from scripts.deploy.plan import StepFailed
from scripts.deploy.stages import StagedRelease, Versions

RUN: Final = "https://run.googleapis.com/v2"
MONITORING: Final = "https://monitoring.googleapis.com/v3"
MAX_ERRORS: Final = 5
"""Answers of 5xx in five minutes, above which the alarm ``errors`` of the root fires too."""

_WINDOW: Final = timedelta(minutes=5)
_BY_REVISION: Final = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_CALL_SECONDS: Final = 30
_UPDATE_SECONDS: Final = 300
_POLL_SECONDS: Final = 2.0


def session() -> AuthorizedSession:
    """Calls to Google's APIs with the credentials that Terraform uses.

    Raises:
        StepFailed: there are none.
    """
    try:
        credentials, _project = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError as error:
        raise StepFailed(f"gcp: no credentials: {error}") from error
    return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]  # google-auth has no types


class CloudRunRelease(StagedRelease):
    """The release of the revisions of a deployment.

    Args:
        session: makes the calls; a ``requests.Session`` with credentials.
        project: the project's id.
        region: the region of the services.
        run, monitoring: the addresses of the two APIs.
        wait: sleeps between two looks at the errors, and between two looks at an update.
    """

    def __init__(
        self,
        session: Any,
        project: str,
        region: str,
        *,
        run: str = RUN,
        monitoring: str = MONITORING,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(wait=wait)
        self._session = session
        self._project = project
        self._services = f"{run}/projects/{project}/locations/{region}/services"
        self._run = run
        self._series = f"{monitoring}/projects/{project}/timeSeries"

    def newest(self, names: Sequence[str]) -> dict[str, str]:
        """The newest revision of each function that is able to serve."""
        return {name: _name(self._service(name)["latestReadyRevision"]) for name in sorted(names)}

    def live(self, names: Sequence[str]) -> dict[str, str]:
        """The revision of each function that gets most calls; empty if the latest one gets all, whichever it is."""
        return {name: _live(self._service(name)) for name in sorted(names)}

    def previous(self, names: Sequence[str]) -> dict[str, str]:
        """The revision before the released one, of the functions that have one."""
        before = {}
        for name, released in self.live(names).items():
            revisions = self._revisions(name)
            older = revisions[: revisions.index(released)] if released in revisions else []
            if older:
                before[name] = older[-1]
        return before

    def firing(self, changed: Versions) -> list[str]:
        """The new revisions that answer with 5xx."""
        return [
            f"{errors} answers of 5xx by {revision}"
            for function, revision in changed.items()
            if (errors := self._errors(function, revision)) > MAX_ERRORS
        ]

    def pin(self, names: Sequence[str]) -> list[str]:
        """Route the calls of new functions to their present revision by its name, and return those functions.

        A service that routes to the latest revision would give all calls to the next one at once.
        """
        pinned = [name for name, revision in self.live(names).items() if not revision]
        for name, revision in self.newest(pinned).items():
            self._route(name, revision)
        return pinned

    def _route(self, function: str, version: str, share: float = 0.0, of: str = "") -> None:
        percent = round(100 * share)
        targets = [(version, 100 - percent), (of, percent)] if percent else [(version, 100)]
        traffic = [{"type": _BY_REVISION, "revision": name, "percent": part} for name, part in targets]
        url = f"{self._services}/{function}"
        operation = self._call("PATCH", url, params={"updateMask": "traffic"}, json={"traffic": traffic})
        deadline = time.monotonic() + _UPDATE_SECONDS
        while not operation.get("done"):
            if time.monotonic() > deadline:
                raise StepFailed(f"gcp: Cloud Run did not divide the calls of {function} within {_UPDATE_SECONDS} s")
            self._wait(_POLL_SECONDS)
            operation = self._call("GET", f"{self._run}/{operation['name']}")
        if error := operation.get("error"):
            raise StepFailed(f"gcp: Cloud Run did not divide the calls of {function}: {error.get('message', error)}")

    def _service(self, function: str) -> dict[str, Any]:
        return self._call("GET", f"{self._services}/{function}")

    def _revisions(self, function: str) -> list[str]:
        """The names of its revisions, the oldest first."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"nextPageToken": ""}
        while "nextPageToken" in page:
            token = {"pageToken": page["nextPageToken"]} if page["nextPageToken"] else {}
            page = self._call("GET", f"{self._services}/{function}/revisions", params={"pageSize": 100} | token)
            found += page.get("revisions", [])
            if not page.get("nextPageToken"):
                break
        return [_name(revision["name"]) for revision in sorted(found, key=lambda revision: revision["createTime"])]

    def _errors(self, function: str, revision: str) -> int:
        """The answers of 5xx of a revision in the last minutes. Cloud Run reports them up to three minutes late."""
        now = datetime.now(UTC)
        of_revision = f'resource.labels.service_name = "{function}" AND resource.labels.revision_name = "{revision}"'
        page = self._call(
            "GET",
            self._series,
            params={
                "filter": 'metric.type = "run.googleapis.com/request_count" AND resource.type = "cloud_run_revision"'
                f' AND metric.labels.response_code_class = "5xx" AND {of_revision}',
                "interval.startTime": (now - _WINDOW).isoformat(),
                "interval.endTime": now.isoformat(),
            },
        )
        points = [point for series in page.get("timeSeries", []) for point in series["points"]]
        return sum(int(point["value"]["int64Value"]) for point in points)

    def _call(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._session.request(method, quote(url, safe=":/"), timeout=_CALL_SECONDS, **options)
        except (RequestException, TransportError) as error:
            raise StepFailed(f"gcp: {method} {url}: {error}") from error
        if not answer.ok:
            raise StepFailed(f"gcp: {method} {url}: {answer.status_code} {answer.text.strip()[:300]}")
        content: dict[str, Any] = answer.json()
        return content


def _name(path: str) -> str:
    """The last part of a resource's name."""
    return path.rpartition("/")[2]


def _live(service: dict[str, Any]) -> str:
    named = [target for target in service.get("traffic", []) if target.get("type") == _BY_REVISION]
    return max(named, key=lambda target: target.get("percent", 0))["revision"] if named else ""
