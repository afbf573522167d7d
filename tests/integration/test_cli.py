"""The installed ``helios`` command, against a running API and a real Postgres."""

import json
import select
import subprocess
import sysconfig
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.processes.process import scrubbed_environment
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from tests.support.api import ROOT
from tests.support.client import EVENTBRIDGE, JSON, call
from tests.support.deliveries import NOON, aws_key, eventbridge
from tests.support.instances import ORDER, leg
from tests.support.receiver import receiving
from tests.support.waiting import eventually

HELIOS = str(Path(sysconfig.get_path("scripts")) / "helios")
PAYMENT = "/api/v1/webhooks/cloudevents"


@pytest.fixture
def helios(api, records):
    """Run a command, and return its exit code and what it wrote."""

    def run(*arguments: str, url: str = api.url):
        command = [HELIOS, *arguments, "--url", url]
        environment = scrubbed_environment(COLUMNS="200")
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def disagreement(api, records):
    """An order for which two clouds report different amounts."""
    order, payment = leg("order"), leg("payment", amount=7)
    assert call(api.url, EVENTBRIDGE, order.body).status == 202
    assert call(api.url, PAYMENT, payment.body, headers=dict(payment.headers)).status == 202


def test_problem_orders_are_listed_in_words(helios, disagreement):
    listed = helios("flows")

    assert listed.returncode == 0, listed.stderr
    assert "ORD-1" in listed.stdout
    assert "amount: AWS ordered 10, GCP charged 7" in listed.stdout
    assert "No flow instance matches" in helios("flows", "--status", "incomplete").stdout


def test_json_lines_are_for_programs(helios, disagreement):
    (line,) = helios("flows", "--issue", "mismatch", "--json").stdout.splitlines()
    assert (json.loads(line)["key"], json.loads(line)["status"]) == ("ORD-1", "mismatched")

    lines = [json.loads(line) for line in helios("events", "--json").stdout.splitlines()]
    assert {line["type"] for line in lines} == {"OrderPlaced", "PaymentProcessed"}


def test_preview_evaluates_stored_events_with_other_rules(helios, records, api, tmp_path):
    since_noon = (datetime.now(UTC) - NOON).total_seconds()
    for delivery in (leg("order", after=since_noon), leg("payment", amount=7, after=since_noon)):
        path = EVENTBRIDGE if delivery.channel == "eventbridge" else PAYMENT
        assert call(api.url, path, delivery.body, headers={**JSON, **delivery.headers}).status == 202
    rules = (ROOT / "shared" / "helios" / "flows.toml").read_text()
    file = tmp_path / "flows.toml"
    file.write_text(rules.replace('within = "0.01"', 'within = "5"'))

    tried = helios("preview", str(file))
    assert tried.returncode == 0, tried.stderr
    assert "Flow instances compared: 1. Status would change: 1." in tried.stdout
    (line,) = helios("preview", str(file), "--json").stdout.splitlines()
    assert (json.loads(line)["recorded"], json.loads(line)["previewed"]) == ("mismatched", "open")

    file.write_text("")
    assert helios("preview", str(file)).stderr == f"helios: {file}: the file has no [[flow]]\n"


def test_one_order_is_shown_leg_by_leg(helios, disagreement):
    shown = helios("flow", "ORD-1").stdout

    for words in ("mismatched", "order", "payment", "inventory", "pending", "mismatch: amount", "verdict"):
        assert words in shown


def test_an_error_is_printed_and_the_exit_code_is_2(helios, disagreement):
    unknown = helios("flow", "ORD-9")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "helios: 404: No instance of the flow 'order' has the key 'ORD-9'.\n",
    )
    away = helios("flows", url="http://127.0.0.1:9")
    assert away.returncode == 2
    assert "does not answer" in away.stderr
    assert helios("flows", url="ftp://x").stderr.startswith("helios: 'ftp://x' is not an http:// or https:// URL")


def test_a_sender_can_not_steer_the_terminal(api, helios, records):
    assert call(api.url, EVENTBRIDGE, eventbridge("1", type_="\x1b[2JGone").body).status == 202

    assert "\x1b" not in helios("events").stdout


def test_tail_shows_what_happens_from_now_on(api, records):
    before = leg("order", "ORD-1")
    assert call(api.url, EVENTBRIDGE, before.body).status == 202
    command = [HELIOS, "tail", "--json", "--url", api.url, "--type", "OrderPlaced"]
    ago = (datetime.now(UTC) - NOON).total_seconds()
    lines: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tail:
        try:
            output = tail.stdout
            assert output
            number = 0

            def shown() -> bool:
                """Send until the first line: a test can't see from outside when `tail` has started."""
                nonlocal number
                number += 1
                call(api.url, EVENTBRIDGE, leg("order", f"ORD-NEW-{number}", after=ago).body)
                return bool(select.select([output], [], [], 0.2)[0])

            eventually(shown, seconds=60)  # a busy machine takes long to start the command
            lines.append(output.readline())
        finally:
            tail.terminate()

    first = json.loads(lines[0])
    assert first["type"] == "OrderPlaced"
    assert first["order_id"].startswith("ORD-NEW-")


@pytest.fixture
def operate(pool, database_url):
    """Run a command that works on the database, and return its exit code and what it wrote."""

    def run(*arguments: str, **settings: str):
        return subprocess.run(
            [HELIOS, *arguments],
            cwd=ROOT,
            env=scrubbed_environment(HELIOS_DATABASE_URL=database_url, **settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def tokens(operate):
    """Run ``helios tokens``, and return its exit code and what it wrote."""
    return partial(operate, "tokens")


def test_recompute_applies_changed_rules_to_stored_events(operate, postgres_store, tmp_path):
    reconciler = Reconciler([ORDER])
    for given in (leg("order"), leg("payment", amount=7), leg("inventory")):
        ingest([given], dedupe=NullDedupeCache(), store=postgres_store, reconciler=reconciler)
    rules = (ROOT / "shared" / "helios" / "flows.toml").read_text()
    file = tmp_path / "flows.toml"
    file.write_text(rules.replace('within = "0.01"', 'within = "5"'))

    def recomputed(*options: str) -> str:
        done = operate("recompute", *options, HELIOS_FLOWS_FILE=str(file))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "3 events read; 1 flow instances would change" in recomputed("--dry-run")
    assert postgres_store.flow(("order", "ORD-1")).status == "mismatched"
    (line,) = recomputed("--flow", "order", "--since", "2025-11-26T12:00:00Z", "--json").splitlines()
    assert json.loads(line) == {"flow": "order", "key": "ORD-1", "before": "mismatched", "after": "matched"}
    assert postgres_store.flow(("order", "ORD-1")).status == "matched"
    assert "0 flow instances changed" in recomputed()

    assert "no flow is named 'refund'" in operate("recompute", "--flow", "refund").stderr


def test_a_token_is_shown_once_listed_without_its_secret_and_revoked(tokens):
    made = tokens("create", "--name", "grafana", "--scope", "read", "--days", "7")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert secret.startswith("helios_")

    listed = tokens("list").stdout
    assert listed.split()[:3] == ["grafana", "valid", "read"]
    assert secret not in listed + tokens("list", "--json").stdout
    assert tokens("revoke", "grafana").returncode == 0
    assert tokens("list").stdout.split()[1] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "--name", "a b", "--scope", "read"], "helios: --name must be 1 to 64"),
        (["create", "--name", "kim", "--scope", "read", "--days", "0"], "helios: --days must be at least 1"),
        (["create", "--name", "kim", "--scope", "root"], "invalid choice: 'root'"),
        (["revoke", "nobody"], "helios: No token named 'nobody' can be revoked"),
    ],
)
def test_a_token_command_that_fails_says_why(tokens, arguments, message):
    answer = tokens(*arguments)

    assert answer.returncode == 2
    assert message in answer.stderr


def test_two_tokens_can_not_have_one_name(tokens):
    assert tokens("create", "--name", "kim", "--scope", "admin").returncode == 0
    assert "A token named 'kim' exists already" in tokens("create", "--name", "kim", "--scope", "read").stderr


def test_many_dead_letters_are_replayed_by_one_job(api, helios, records):
    """Three with a truncated body, and one that fails by another field."""
    whole = [eventbridge(str(number)).body for number in range(3)]
    for body in whole:
        assert call(api.url, EVENTBRIDGE, body[:-1]).status == 400
    assert call(api.url, EVENTBRIDGE, b'{"id": "9"}').status == 400

    listed = helios("dead-letters", "list").stdout
    assert listed.splitlines()[-1].split()[0] == "4"
    assert helios("dead-letters", "list", "--reason", "is missing").stdout.split()[0] == "1"
    assert helios("dead-letters", "replay", "--all", "--dry-run").stdout.startswith("4 match, received ")
    assert call(api.url, "/api/v1/replays").body["items"] == []
    body_only = helios("dead-letters", "list", "--field", "body", "--json").stdout.splitlines()
    assert [json.loads(line)["field"] for line in body_only] == ["body"] * 3

    refused = helios("dead-letters", "replay", "--field", "body", "--per-second", "100", "--json")
    assert refused.returncode == 0, refused.stderr
    job = json.loads(refused.stdout)
    assert (job["state"], job["sent"], job["failed"], job["what"]) == ("done", 0, 3, "dead_letters")
    assert records.keys() == []


def test_a_repaired_dead_letter_is_replayed_only_once(api, helios, records, tmp_path):
    assert call(api.url, EVENTBRIDGE, b"{").status == 400
    (line,) = helios("dead-letters", "list", "--json").stdout.splitlines()
    id_ = str(json.loads(line)["id"])
    repaired = tmp_path / "message.json"
    repaired.write_bytes(eventbridge("1").body)

    assert helios("dead-letters", "replay", id_, "--body", str(repaired)).stdout == "1 stored\n"
    assert records.keys() == [aws_key("1")]
    assert helios("dead-letters", "replay", "--all", "--dry-run").stdout == "0 match\n"
    assert helios("dead-letters", "replay", id_, "--body", str(repaired)).stdout == "1 duplicate\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "dead-letters replay needs the ids of dead letters"),
        (["1", "--all"], "not both"),
        (["--since", "noon"], "'noon' is not a time"),
        (["--all", "--body", "x"], "give exactly one id"),
        (["1", "--body", "nowhere"], "--body nowhere"),
    ],
)
def test_an_ambiguous_replay_is_refused(helios, arguments, message):
    answer = helios("dead-letters", "replay", *arguments)

    assert answer.returncode == 2
    assert message in answer.stderr


def test_a_replay_waits_as_long_as_retry_after_says(helios):
    with receiving() as api:
        api.answers = [
            (503, {"retry-after": "1"}, b"{}"),
            (429, {"retry-after": "1"}, b"{}"),
            (200, {}, b'{"status": "stored"}'),
            (200, {}, b'{"results": [{"status": "stored"}, {"status": "duplicate"}]}'),
        ]
        answer = helios("dead-letters", "replay", "1", "2", "--per-second", "1000", url=api.url.partition("/hook")[0])

        assert (answer.returncode, answer.stdout) == (0, "1 duplicate, 2 stored\n"), answer.stderr
        assert [path for path, _, _ in api.requests] == ["/api/v1/dead-letters/1/replay"] * 3 + [
            "/api/v1/dead-letters/2/replay"
        ]


def test_stored_events_are_sent_again_and_the_job_is_shown(api, helios, records):
    for number in range(3):
        assert call(api.url, EVENTBRIDGE, eventbridge(str(number)).body).status == 202

    assert helios("replay", "start", "--to-watchers", "--dry-run").stdout.startswith("3 match")
    ended = helios("replay", "start", "--to-watchers", "--source", "aws")
    assert ended.returncode == 0, ended.stderr
    assert "done  to relay  3 sent, 0 failed, 0 skipped of 3 events  by local" in ended.stdout
    id_ = ended.stdout.split()[0]
    assert helios("replay", "show", id_).stdout == helios("replay", "list").stdout == ended.stdout
    assert f"Replay job {id_} is done" in helios("replay", "cancel", id_).stderr

    for number in range(3, 120):  # minutes of work, at one a second
        assert call(api.url, EVENTBRIDGE, eventbridge(str(number)).body).status == 202
    slow = helios("replay", "start", "--to-watchers", "--per-second", "1", "--detach")
    assert "running" in slow.stdout
    assert "cancelled" in helios("replay", "cancel", slow.stdout.split()[0]).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to-webhook", "https://hooks.example/"], "which is not in HELIOS_REPLAY_HOSTS"),
        (["--to-cloud", "aws"], "add one to HELIOS_REPLAY_TOPICS"),
        (["--to-cloud", "aws", "--source", "gcp"], "Leave out --source gcp"),
        ([], "one of the arguments --to-watchers"),
    ],
)
def test_a_replay_to_a_target_that_is_not_allowed_is_refused(helios, arguments, message):
    answer = helios("replay", "start", *arguments)

    assert answer.returncode == 2
    assert message in answer.stderr


def test_a_person_resolves_an_order_and_undoes_it(helios, disagreement, api):
    taken = helios("resolutions", "accept", "ORD-1", "--text", "agreed with the bank")
    assert taken.returncode == 0, taken.stderr
    number = taken.stdout.split()[0]
    assert "accept  1 flow instances: agreed with the bank" in taken.stdout
    assert "accepted (local, " in helios("flow", "ORD-1").stdout
    assert "No flow instance matches" in helios("flows", "--resolution", "unresolved").stdout
    assert "0  unresolved problems" in helios("resolutions", "workload").stdout

    assert helios("resolutions", "assign", "--status", "mismatched", "--to", "lee").returncode == 0
    assert "ORD-1" in helios("flows", "--assignee", "lee").stdout
    (line,) = helios("resolutions", "undo", number, "--json").stdout.splitlines()
    assert json.loads(line)["skipped"] == 1  # the assignment came later

    (changed,) = helios("flows", "--json").stdout.splitlines()
    assert json.loads(changed)["resolution"]["assignee"] == "lee"
    steps = helios("resolutions", "list", "--key", "ORD-1", "--json").stdout.splitlines()
    assert [json.loads(line)["step"] for line in steps] == [
        "assign",
        "accept",
    ]  # the undo changed nothing of this order
    entries = call(api.url, "/api/v1/audit").body["items"]
    assert [entry["action"] for entry in entries] == ["flow_instances_resolved"] * 3


def test_steps_are_read_from_a_csv_file(helios, disagreement, tmp_path):
    file = tmp_path / "steps.csv"
    file.write_text("flow,key,step,text,assignee\norder,ORD-1,assign,,lee\norder,ORD-1,write_off,'=lost,\n")

    taken = helios("resolutions", "import", str(file))

    assert taken.returncode == 0, taken.stderr
    (row,) = helios("flows", "--json").stdout.splitlines()
    resolution = json.loads(row)["resolution"]
    assert (resolution["state"], resolution["reason"], resolution["assignee"]) == ("written_off", "=lost", "lee")


def test_a_csv_file_is_read_whole_or_not_at_all(helios, disagreement, tmp_path):
    file = tmp_path / "steps.csv"
    file.write_text("flow,key,step,text\norder,ORD-1,accept,small\norder,ORD-9,write_off,lost\n")

    refused = helios("resolutions", "import", str(file))

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "helios: 422: instances has no flow instance order/ORD-9\n"
    assert helios("resolutions", "list", "--json").stdout == ""


def test_the_same_csv_file_twice_leaves_the_same_state(helios, disagreement, tmp_path):
    file = tmp_path / "steps.csv"
    file.write_text("flow,key,step,text\n" + "order,ORD-1,accept,small\n" * 2)

    for number in (1, 2):
        assert helios("resolutions", "import", str(file)).returncode == 0
        steps = [json.loads(line) for line in helios("resolutions", "list", "--json").stdout.splitlines()]
        assert [(step["step"], step["instances"]) for step in steps] == [("accept", 1)] * number
        (row,) = helios("flows", "--json").stdout.splitlines()
        assert json.loads(row)["resolution"]["state"] == "accepted"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["accept", "ORD-1", "--text", " "], "helios: text is missing: accept needs a text"),
        (["reopen"], "helios: filter has no condition: name at least one, such as status"),
        (["reopen", "ORD-1", "--status", "open"], "helios: resolutions takes keys or a filter, but not both"),
        (["reopen", "ORD-9"], "helios: 422: instances has no flow instance order/ORD-9"),
        (["undo", "4711"], "helios: 404: No resolution has the id 4711."),
        (["import", "nowhere.csv"], "helios: nowhere.csv can't be read as CSV in UTF-8: "),
    ],
)
def test_a_wrong_resolution_is_an_error_in_words(helios, disagreement, arguments, message):
    refused = helios("resolutions", *arguments)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flow,key,step\norder,ORD-1,approve\n", ":2: Invalid enum value 'approve' - at `$.step`"),
        ("flow,key,step\norder,ORD-1\n", ":2: the line has another number of columns"),
        ("flow,key,step\n", " has no rows below its line of names: flow, key, step, text, assignee"),
        ("key,step\nORD-1,reopen\n", ":2: Object missing required field `flow`"),
        ("flow,key,step\norder,ORD-1,reopen\norder,ORD-1,accept\n", ":3: text is missing: accept needs a text"),
        (
            "flow,key,step,assignee\norder,ORD-1,reopen,lee\n",
            ":2: assignee applies to the step assign only",
        ),
        (
            f"flow,key,step,text\norder,ORD-1,note,{'x' * 2001}\n",
            ":2: Expected `str` of length <= 2000 - at `$.text`",
        ),
    ],
)
def test_a_wrong_line_of_a_csv_file_is_named_and_nothing_is_changed(helios, disagreement, tmp_path, text, message):
    file = tmp_path / "steps.csv"
    file.write_text(text)

    refused = helios("resolutions", "import", str(file))

    assert (refused.returncode, refused.stderr) == (2, f"helios: {file}{message}\n")
    assert helios("resolutions", "list", "--json").stdout == ""


def test_the_rules_of_a_flow_are_exported_edited_previewed_and_approved(helios, disagreement, tmp_path):
    shipped = (ROOT / "shared" / "helios" / "flows.toml").read_bytes()
    file = tmp_path / "order.toml"
    assert helios("flow-versions", "export", "order", "--output", str(file)).returncode == 0
    assert file.read_bytes() == shipped
    lenient = shipped.replace(b'within = "0.01"', b'within = "5"')
    file.write_bytes(lenient)

    assert helios("flow-versions", "save", str(file)).stdout == "order, version 1: draft\n"
    refused = helios("flow-versions", "save", str(file))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "local has saved version 1: compare your text with it, and save again with based_on 1" in refused.stderr
    assert "Compared: " in helios("flow-versions", "preview", "order", "1").stdout
    assert helios("flow-versions", "approve", "order", "1").stdout == "order, version 1: in_force\n"

    assert helios("flow-versions", "export", "order").stdout.encode() == lenient
    assert "version 1" in helios("flow-versions", "list").stdout
    assert "in_force" in helios("flow-versions", "history", "order").stdout
    unconfirmed = helios("flow-versions", "withdraw", "order", "1")
    assert (unconfirmed.returncode, "Repeat the command with --yes" in unconfirmed.stderr) == (2, True)
    assert "is shipped with Helios" in helios("flow-versions", "withdraw", "order", "1", "--yes").stderr
    # The API evaluates by the version at once, and repairs what it has evaluated before.
    eventually(lambda: "No flow instance matches" in helios("flows", "--status", "mismatched").stdout, seconds=60)


def test_a_wrong_text_is_an_error_with_its_line(helios, records, tmp_path):
    file = tmp_path / "order.toml"
    file.write_text('[[flow]]\nname = "order"\nkey = 7\n')
    refused = helios("flow-versions", "save", str(file))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("helios: 422: line 3: flow[0].key: ")
