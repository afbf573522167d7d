"""The release of new revisions on Google Cloud, on a stand-in for Cloud Run's and Cloud Monitoring's APIs.

The stand-in remembers the traffic that it is sent and refuses what Cloud Run refuses. It divides no calls.
"""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from scripts.deploy.cloud_run import MAX_ERRORS, CloudRunRelease
from scripts.deploy.plan import StepFailed
from tests.support.listener import serving

pytestmark = pytest.mark.servers

FUNCTIONS = ("helios-ingest", "helios-sweep")
SERVICES = "/projects/shop-1234/locations/europe-west3/services/"
LATEST = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}


def by_revision(**percents):
    """Traffic that names revisions."""
    return [
        {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": name.replace("_", "-"), "percent": percent}
        for name, percent in percents.items()
    ]


class Project:
    """The services of a project, and the answers of their revisions."""

    def __init__(self):
        self.traffic = {name: [LATEST] for name in FUNCTIONS}
        self.revisions = {name: [f"{name}-1"] for name in FUNCTIONS}
        self.errors = {}
        self.filters = []

    def deploy(self, name):
        """A new revision, as Terraform deploys it: calls go where they went."""
        self.revisions[name].append(f"{name}-{len(self.revisions[name]) + 1}")

    def answer(self, method, path, query, body):
        """The status and content of an answer."""
        if path.endswith("/timeSeries"):
            return 200, self._time_series(*query["filter"])
        if path.startswith("/projects/shop-1234/operations/"):
            return 200, {"name": path[1:], "done": True}
        name, _, part = path.removeprefix(SERVICES).partition("/")
        if name not in FUNCTIONS:
            return 404, {"error": {"message": f"Resource {name!r} was not found"}}
        if part == "revisions":
            return 200, self._listed(name, path, int(query.get("pageToken", ["0"])[0]))
        return self._updated(name, query, body) if method == "PATCH" else (200, self._service(name, path))

    def _time_series(self, wanted):
        self.filters.append(wanted)
        (revision,) = re.findall(r'revision_name = "([^"]+)"', wanted)
        if revision not in self.errors:
            return {}
        return {"timeSeries": [{"points": [{"value": {"int64Value": str(self.errors[revision])}}]}]}

    def _listed(self, name, path, start):
        """A page of two revisions, the newest first, as Cloud Run lists them."""
        revisions = [
            {"name": f"{path[1:]}/{revision}", "createTime": f"2026-11-29T10:00:0{number}Z"}
            for number, revision in enumerate(self.revisions[name])
        ][::-1]
        more = {"nextPageToken": str(start + 2)} if start + 2 < len(revisions) else {}
        return {"revisions": revisions[start : start + 2]} | more

    def _updated(self, name, query, body):
        if query != {"updateMask": ["traffic"]} or sum(target["percent"] for target in body["traffic"]) != 100:
            return 400, {"error": {"message": "traffic must sum to 100"}}
        self.traffic[name] = body["traffic"]
        return 200, {"name": "projects/shop-1234/operations/1"}

    def _service(self, name, path):
        latest = f"{path[1:]}/revisions/{self.revisions[name][-1]}"
        return {"traffic": self.traffic[name], "latestReadyRevision": latest}


@pytest.fixture
def project():
    return Project()


@pytest.fixture
def url(project) -> Iterator[str]:
    """The address of both APIs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, content = project.answer(
                self.command, parts.path, parse_qs(parts.query), json.loads(body) if body else None
            )
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_PATCH = do_GET  # noqa: N815 - the standard library's spelling

        def log_message(self, *_):
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def release(url):
    """Makes a release that waits with a function."""
    with requests.Session() as session:
        yield lambda wait=lambda _: None: CloudRunRelease(
            session, "shop-1234", "europe-west3", run=url, monitoring=url, wait=wait
        )


@pytest.fixture
def deployed(project, release):
    """A project whose second revision of the ingest function waits for its release."""
    assert release().pin(FUNCTIONS) == list(FUNCTIONS)
    project.deploy("helios-ingest")
    return project


def test_the_first_revision_gets_all_calls_by_its_name(project, release):
    """The service would otherwise give all calls to the next revision at once."""
    assert release().pin(FUNCTIONS) == list(FUNCTIONS)
    assert project.traffic["helios-ingest"] == by_revision(helios_ingest_1=100)
    assert release().pin(FUNCTIONS) == []


def test_the_new_revision_gets_a_part_of_the_calls_then_all_and_can_be_taken_back(deployed, release):
    stages = []
    releasing = release(lambda _: stages.append(deployed.traffic["helios-ingest"]))
    releasing.run(releasing.newest(FUNCTIONS), minutes=0.1)
    assert by_revision(helios_ingest_1=90, helios_ingest_2=10) in stages
    assert stages[-1] == deployed.traffic["helios-ingest"] == by_revision(helios_ingest_2=100)
    assert deployed.traffic["helios-sweep"] == by_revision(helios_sweep_1=100)
    assert all('"helios-ingest-2"' in wanted for wanted in deployed.filters)

    deployed.deploy("helios-ingest")
    releasing.run(releasing.newest(FUNCTIONS), minutes=0)
    assert releasing.previous(FUNCTIONS) == {"helios-ingest": "helios-ingest-2"}
    releasing.run(releasing.previous(FUNCTIONS), minutes=0)
    assert deployed.traffic["helios-ingest"] == by_revision(helios_ingest_2=100)


@pytest.mark.parametrize("share", [10, 100])
def test_errors_of_the_new_revision_take_it_back(deployed, release, share):
    """In the first stage, and in the second, when the new revision gets all calls."""

    def wait(_):
        if by_revision(helios_ingest_2=share)[0] in deployed.traffic["helios-ingest"]:
            deployed.errors["helios-ingest-2"] = MAX_ERRORS + 1

    with pytest.raises(StepFailed, match="not released: 6 answers of 5xx by helios-ingest-2 fired"):
        release(wait).run(release().newest(FUNCTIONS), minutes=0.1)
    assert deployed.traffic["helios-ingest"] == by_revision(helios_ingest_1=100)


def test_errors_of_the_old_revision_stop_nothing(deployed, release):
    deployed.errors["helios-ingest-1"] = 100
    release().run(release().newest(FUNCTIONS), minutes=0.1)
    assert deployed.traffic["helios-ingest"] == by_revision(helios_ingest_2=100)


def test_an_interruption_takes_the_new_revision_back(deployed, release):
    def wait(seconds):
        if seconds > 5:  # between two looks at the errors, not at an update
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release(wait).run(release().newest(FUNCTIONS))
    assert deployed.traffic["helios-ingest"] == by_revision(helios_ingest_1=100)


def test_a_refusal_names_the_call_and_google_s_reason(release):
    with pytest.raises(StepFailed, match=r"gcp: GET .*/services/missing: 404 .*'missing' was not found"):
        release().live(["missing"])
