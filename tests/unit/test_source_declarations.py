"""Declarations of sources: few lines are enough, and an error names its line and its key."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from helios.errors import ConfigurationError
from helios.model.events import Event
from helios.model.sources import COLOURS, SHAPES, ApiKey, Hmac, Oidc
from helios.reconciliation import declaration as flows
from helios.reconciliation.evidence import MAX_FIELD_CHARS, EvidenceExtractor
from helios.sources.declaration import MAX_SOURCES, load
from tests.support.deliveries import NOON

SOURCE = """
[[source]]
name = "warehouse"
label = "Warehouse"
colour = "teal"
shape = "square"
proof = { scheme = "hmac", header = "x-signature", encoding = "base64" }
id = "event.id"
type = "event.kind"
time = "event.at"
data = "payload"
order = "order.number"
customer = "order.customer"
amount = "total"
currency = "currency"
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str):
        file = tmp_path / "sources.toml"
        file.write_text(text)
        return load(str(file))

    return read


def test_without_a_file_the_sources_are_the_three_clouds():
    assert list(load(None)) == ["aws", "gcp", "azure"]
    assert load(None).declared == {}


def test_a_source_with_every_key_takes_fewer_than_15_lines(read):
    sources = read(SOURCE)

    assert len(SOURCE.strip().splitlines()) < 15
    assert list(sources) == ["aws", "gcp", "azure", "warehouse"]
    assert sources.declared["warehouse"].proof == Hmac(header="x-signature", encoding="base64", name="hmac")
    assert sources.label("warehouse") == "Warehouse"


@pytest.mark.parametrize("preset", ["stripe", "shopify", "github"])
def test_a_preset_takes_three_lines(read, preset):
    declared = read(f'[[source]]\nname = "{preset}"\npreset = "{preset}"\n').declared[preset]

    assert declared.proof.name == preset
    assert declared.id is not None
    assert declared.type is not None


def test_a_key_beside_a_preset_takes_precedence(read):
    text = '[[source]]\nname = "pay"\npreset = "stripe"\norder = "object.description"\nlabel = "Payments"\n'
    declared = read(text).declared["pay"]

    assert (declared.order, declared.label, declared.id) == ("object.description", "Payments", "id")


@pytest.mark.parametrize(
    ("proof", "expected"),
    [
        ('"stripe"', "stripe"),
        ('"standard_webhooks"', "standard_webhooks"),
        ('{ scheme = "slack", tolerance_seconds = 60 }', "slack"),
        ('"api_key"', "api_key"),
    ],
)
def test_a_scheme_is_named_by_a_text_or_in_a_table(read, proof, expected):
    text = f'[[source]]\nname = "one"\nproof = {proof}\nid = "id"\ntype = "=Paid"\n'

    assert read(text).declared["one"].proof.name == expected


def test_the_schemes_that_need_no_signature(read):
    key = '[[source]]\nname = "one"\nproof = { scheme = "api_key", header = "x-token" }\nid = "id"\ntype = "type"\n'
    oidc = (
        '[[source]]\nname = "two"\nid = "id"\ntype = "type"\n[source.proof]\nscheme = "oidc"\n'
        'issuer = "https://id.example"\naudience = "helios"\nkeys_url = "https://id.example/keys"\nsubject = "sender"\n'
    )
    sources = read(key + oidc)

    assert sources.declared["one"].proof == ApiKey(header="x-token")
    assert sources.declared["two"].proof == Oidc(
        issuer="https://id.example", audience="helios", keys_url="https://id.example/keys", subject="sender"
    )


def test_a_source_of_cloudevents_needs_no_paths(read):
    text = '[[source]]\nname = "shop"\nchannel = "cloudevents"\nproof = "standard_webhooks"\n'

    assert read(text).declared["shop"].channel == "cloudevents"


def test_sources_without_a_look_get_colours_and_shapes_that_no_other_has(read):
    names = [f"source-{number}" for number in range(5)]
    text = "".join(f'[[source]]\nname = "{name}"\nproof = "github"\nid = "id"\ntype = "type"\n' for name in names)
    infos = read(text).infos

    assert [info.name for info in infos] == ["aws", "gcp", "azure", *names]
    assert len({info.colour for info in infos}) == len({info.shape for info in infos}) == len(infos)
    assert infos[3].label == "Source 0"


def test_the_most_sources_still_have_valid_looks(read):
    text = "".join(
        f'[[source]]\nname = "s{number}"\nproof = "github"\nid = "id"\ntype = "type"\n' for number in range(MAX_SOURCES)
    )
    infos = read(text).infos

    assert {info.colour for info in infos} == set(COLOURS)
    assert {info.shape for info in infos} == set(SHAPES)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('name = "warehouse"', 'name = "Ware house"', 3, "source[0].name"),
        ('name = "warehouse"', 'name = "aws"', 3, "source[0].name: 'aws' is reserved"),
        ('name = "warehouse"', 'name = "cloudevents"', 3, "source[0].name: 'cloudevents' is reserved"),
        ('name = "warehouse"\n', "", 2, "name"),
        ('colour = "teal"', 'colour = "mauve"', 5, "source[0].colour"),
        ('colour = "teal"\nshape = "square"', 'colour = "amber"\nshape = "triangle"', 5, "another source is"),
        ('shape = "square"', 'shape = "blob"', 6, "source[0].shape"),
        ('scheme = "hmac"', 'scheme = "md5"', 7, "source[0].proof.scheme: 'md5' is no scheme: use standard_webhooks"),
        ('scheme = "hmac", ', "", 7, "source[0].proof: needs a scheme"),
        ('header = "x-signature", ', "", 7, "header"),
        ('header = "x-signature"', 'header = "X-Signature"', 7, "source[0].proof.header"),
        ('encoding = "base64"', 'encoding = "base32"', 7, "source[0].proof.encoding"),
        ('encoding = "base64"', 'signed = "{x-time}"', 7, "source[0].proof.signed: must contain {body}"),
        ('encoding = "base64"', 'signed = "{x-id}{body}"', 7, "source[0].proof.signed: needs a text between"),
        ('encoding = "base64"', 'timestamp = "x-time"', 7, "source[0].proof.timestamp: must be signed"),
        ('id = "event.id"\n', "", 2, "source[0].id: is missing"),
        ('type = "event.kind"', 'type = ""', 9, "source[0].type"),
        ('time = "event.at"', 'tiem = "event.at"', 2, "tiem"),
        ('order = "order.number"', "order = []", 12, "source[0].order"),
        ('currency = "currency"', "minor_units = 1", 15, "source[0].minor_units"),
        ('currency = "currency"', "minor_units = true", 15, "source[0].minor_units: needs amount and currency"),
        ('label = "Warehouse"', 'channel = "cloudevents"', 8, "source[0].id: is part of every CloudEvent"),
        ('label = "Warehouse"', 'preset = "paypal"', 4, "source[0].preset: 'paypal' is no preset: use stripe"),
        ('label = "Warehouse"', "label = Warehouse", 4, "line 4"),
        ("[[source]]", "[[sources]]", 2, "sources"),
    ],
)
def test_an_error_names_its_line_and_its_key(read, old, new, line, message):
    assert old in SOURCE
    with pytest.raises(ConfigurationError) as error:
        read(SOURCE.replace(old, new, 1))
    assert message in str(error.value)
    assert f"line {line}" in str(error.value)


def test_an_error_in_the_second_source_names_its_line(read):
    with pytest.raises(ConfigurationError, match=r"line 18: source\[1\]\.name: 'warehouse' is already the name"):
        read(SOURCE + SOURCE)


def test_too_many_sources_are_an_error(read):
    text = "".join(
        f'[[source]]\nname = "s{number}"\nproof = "github"\nid = "id"\ntype = "type"\n'
        for number in range(MAX_SOURCES + 1)
    )
    with pytest.raises(ConfigurationError, match=f"at most {MAX_SOURCES} sources"):
        read(text)


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"HELIOS_SOURCES_FILE: .*nowhere\.toml: No such file"):
        load(str(tmp_path / "nowhere.toml"))


FLOW = """
[[flow]]
name = "delivery"
key = "order_id"
window_seconds = 30
grace_seconds = 60

[[flow.leg]]
name = "stock"
source = "warehouse"
type = "Picked"
"""


def test_a_leg_of_a_flow_may_be_of_a_declared_source(read, tmp_path):
    file = tmp_path / "flows.toml"
    file.write_text(FLOW)

    (flow,) = flows.load(str(file), sources=read(SOURCE))
    assert flow.leg[0].source == "warehouse"


def test_a_leg_of_an_undeclared_source_is_an_error_that_names_the_declared_ones(tmp_path):
    file = tmp_path / "flows.toml"
    file.write_text(FLOW)

    with pytest.raises(ConfigurationError) as error:
        flows.load(str(file))
    assert "line 10: flow[0].leg[0].source: 'warehouse' is not declared: use aws, gcp, azure" in str(error.value)


def test_the_example_of_the_documents_is_valid(read):
    document = (Path(__file__).parents[2] / "docs/sources.md").read_text()
    example = document.partition("```toml\n")[2].partition("```")[0]

    assert list(read(example).declared) == ["stripe", "warehouse"]


def test_a_flow_reads_the_values_that_the_declaration_names(read, tmp_path):
    """The key, the amount and the currency of a payment are where Stripe has them; the rules use Helios' names."""
    file = tmp_path / "flows.toml"
    file.write_text(
        FLOW.replace("warehouse", "stripe").replace("Picked", "charge.succeeded")
        + '[[flow.rule]]\nequal = ["stock.amount", "stock.currency"]\n'
    )
    sources = read('[[source]]\nname = "stripe"\npreset = "stripe"\n')
    payload = {"object": {"amount": 1099, "currency": "usd", "metadata": {"order_id": "ORD-1"}}}
    event = Event(
        source="stripe",
        producer="stripe",
        id="evt_1",
        type="charge.succeeded",
        time=NOON,
        received_at=NOON,
        data=msgspec.Raw(msgspec.json.encode(payload)),
        digest="",
    )

    extractor = EvidenceExtractor(flows.load(str(file), sources=sources), sources)
    (keyed,) = extractor.extract(event)
    assert keyed.key == "ORD-1"
    assert (keyed.evidence.fields["amount"], keyed.evidence.fields["currency"]) == ("10.99", "USD")

    payload["object"]["currency"] = "usd" * MAX_FIELD_CHARS
    (keyed,) = extractor.extract(replace(event, data=msgspec.Raw(msgspec.json.encode(payload))))
    assert len(keyed.evidence.fields["currency"]) < MAX_FIELD_CHARS + 50
