"""Editing the rules of a flow over the API, on Postgres."""

import pytest
from msgspec.structs import replace

from helios.adapters.postgres.flow_versions import PostgresFlowVersions
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.errors import ConfigurationError
from helios.reconciliation.declaration import load, shipped_text
from helios.services.rules import Rules
from tests.support.services import TRUST_LOOPBACK, bearer, client_of, in_memory

SHIPPED = shipped_text()
LENIENT = SHIPPED.replace('within = "0.01"', 'within = "100"')
PATH = "/api/v1/flow-versions"


@pytest.fixture
def services(postgres_store, pool):
    versions = PostgresFlowVersions(pool)
    return replace(
        in_memory(postgres_store, replace(TRUST_LOOPBACK, trust_loopback=False, webhook_auth="closed")),
        rules=Rules(load(), versions, text=SHIPPED),
        versions=versions,
        store=PostgresStore(pool),
    )


@pytest.fixture
def api(services):
    return client_of(services)


def save(api, text=LENIENT, *, based_on=None, token="rules"):
    return api.post(PATH, json={"text": text, "based_on": based_on}, headers=bearer(token))


def post(api, path, *, token="rules"):
    return api.post(f"{PATH}/{path}", headers=bearer(token))


def get(api, path=""):
    return api.get(f"{PATH}{path}", headers=bearer("read"))


def test_a_flow_of_helios_is_edited_previewed_and_approved(api, services):
    (shipped,) = get(api).json()
    assert (shipped["owner"], shipped["text"], shipped["read_only"], shipped["latest"]) == (
        "shipped",
        SHIPPED,
        None,
        None,
    )

    assert save(api).status_code == 201
    assert post(api, "order/1/approve").status_code == 409
    previewed = post(api, "order/1/preview")
    assert (previewed.status_code, previewed.json()["method"]) == (200, "sample")
    approved = post(api, "order/1/approve")

    assert (approved.status_code, approved.json()["state"], approved.json()["approved_by"]) == (
        200,
        "in_force",
        "token:rules",
    )
    (edited,) = get(api).json()
    assert (edited["owner"], edited["in_force"]["version"], edited["latest"], edited["draft"]) == (
        "version",
        1,
        1,
        None,
    )
    assert services.reconciler.evaluators["order"].flow.rule[0].within == "100"
    log = api.get("/api/v1/audit", params={"subject": "flow order"}, headers=bearer("read")).json()["items"]
    assert [(entry["action"], entry["actor"]) for entry in log] == [
        ("flow_version_approved", "token:rules"),
        ("flow_version_previewed", "token:rules"),
        ("flow_version_saved", "token:rules"),
    ]


def recovering(per_hour, after_seconds=60):
    return f"{LENIENT}\n[flow.recovery]\nper_hour = {per_hour}\nafter_seconds = {after_seconds}\n"


@pytest.mark.parametrize("more", [recovering(6), recovering(5, after_seconds=59)], ids=["more", "earlier"])
def test_a_version_that_starts_more_recoveries_needs_the_scope_replay(api, more):
    """Whoever may not start a recovery may not let a policy start them either."""
    assert save(api, recovering(5)).status_code == 403
    assert save(api, recovering(5), token="admin").status_code == 201
    assert post(api, "order/1/preview").status_code == 200
    refused = post(api, "order/1/approve")
    assert refused.status_code == 403
    assert "needs a token with the scope replay as well" in refused.json()["detail"]
    assert post(api, "order/1/approve", token="admin").status_code == 200

    assert save(api, more, based_on=1).status_code == 403
    assert save(api, recovering(4), based_on=1).status_code == 201


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_the_export_is_byte_for_byte_what_the_author_wrote(api, ends):
    text = f"# Größe: наш порядок{ends}{LENIENT.replace(chr(10), ends)}{ends}   # end"
    save(api, text)

    exported = get(api, "/order/1/toml")

    assert exported.content == text.encode()
    assert exported.headers["content-type"] == "application/toml"
    assert exported.headers["content-disposition"] == 'attachment; filename="order-1.toml"'
    assert get(api, "/order/toml").text == SHIPPED


def test_an_error_names_the_key_and_the_line(api):
    number = next(n for n, line in enumerate(SHIPPED.splitlines(), 1) if 'source = "gcp"' in line)
    wrong = save(api, SHIPPED.replace('source = "gcp"', 'source = "gpc"'))
    assert wrong.status_code == 422
    (error,) = wrong.json()["errors"]
    assert (error["field"], error["line"]) == ("flow[0].leg[1].source", number)
    assert f"line {number}: flow[0].leg[1].source: " in wrong.json()["detail"]


@pytest.mark.parametrize(
    ("text", "field", "line"),
    [
        ('[[flow]]\nname = "order\n', "text", 2),
        ('[[flow]]\nname = "order"\nkey = "id"', "flow[0]", 1),
        ("# nothing", "flow", 1),
        (SHIPPED + SHIPPED.replace('name = "order"\nkey', 'name = "other"\nkey'), "flow[1]", len(SHIPPED.splitlines())),
        (f"a = {'[' * 5000}", "text", None),
    ],
)
def test_a_text_that_declares_no_flow_is_refused(api, text, field, line):
    refused = save(api, text)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["field"] == field
    assert line is None or abs(error["line"] - line) <= 3


def test_the_second_of_two_editors_gets_a_409_that_says_what_to_do(api):
    assert save(api).status_code == 201
    refused = save(api, SHIPPED)
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["field"] == "based_on"
    assert "token:rules has saved version 1: compare your text with it, and save again with based_on 1" in str(
        refused.json()
    )
    assert save(api, SHIPPED, based_on=1).json()["version"] == 2
    assert [version["state"] for version in get(api, "/order").json()["items"]] == ["draft", "replaced"]


def test_a_flow_that_a_file_owns_is_read_only_and_says_so(services, tmp_path):
    file = str(tmp_path / "my-flows.toml")
    api = client_of(replace(services, rules=Rules(load(), services.versions, text=SHIPPED, file=file)))

    (owned,) = get(api).json()
    refused = save(api)

    assert (owned["owner"], owned["text"]) == ("file", SHIPPED)
    assert refused.status_code == 409
    for text in (owned["read_only"], refused.json()["detail"]):
        assert f"{file}, which HELIOS_FLOWS_FILE names, and is read-only here: edit that file" in text
    assert save(api, LENIENT.replace('name = "order"\nkey', 'name = "other"\nkey')).status_code == 201


def test_only_a_flow_without_another_declaration_is_withdrawn(api, services):
    other = SHIPPED.replace('name = "order"\nkey', 'name = "other"\nkey')
    for flow, text in (("order", LENIENT), ("other", other)):
        assert save(api, text).status_code == 201
        assert post(api, f"{flow}/1/withdraw").status_code == 409  # a draft, or shipped
        assert post(api, f"{flow}/1/preview").status_code == 200
        assert post(api, f"{flow}/1/approve").status_code == 200
    assert [(rules["flow"], rules["can_withdraw"]) for rules in get(api).json()] == [("order", False), ("other", True)]
    refused = post(api, "order/1/withdraw")
    assert (refused.status_code, "save that text as a new version" in refused.json()["detail"]) == (409, True)
    assert post(api, "other/1/withdraw", token="resolve").status_code == 403
    assert post(api, "other/9/withdraw").status_code == 404

    withdrawn = post(api, "other/1/withdraw")

    assert (withdrawn.status_code, withdrawn.json()["withdrawn_by"]) == (200, "token:rules")
    assert services.reconciler.evaluators.keys() == {"order"}
    (_, rules) = get(api).json()
    assert (rules["text"], rules["in_force"], rules["latest"], rules["can_withdraw"]) == (None, None, 1, False)


def test_every_change_needs_the_scope_and_a_token_without_limits(api):
    for token in ("read", "replay", "resolve"):
        assert save(api, token=token).status_code == 403
        assert post(api, "order/1/preview", token=token).status_code == 403
        assert post(api, "order/1/approve", token=token).status_code == 403
    assert save(api, token="admin").status_code == 201


@pytest.mark.parametrize("path", ["/order/7", "/order/7/toml", "/nothing/toml"])
def test_what_does_not_exist_is_a_404(api, path):
    assert get(api, path).status_code == 404
    assert post(api, "order/7/approve").status_code == post(api, "order/7/preview").status_code == 404


def test_a_setting_that_does_not_go_with_the_flow_is_refused(services):
    def check(flow):
        raise ConfigurationError(f"HELIOS_REDACT: amount is read by the flow {flow.name!r} and must not be redacted")

    api = client_of(replace(services, rules=Rules(load(), services.versions, text=SHIPPED, check=check)))
    refused = save(api)
    assert refused.status_code == 422
    assert "HELIOS_REDACT" in refused.json()["detail"]
