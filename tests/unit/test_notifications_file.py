"""The file of notifications: every mistake is an error that names the line and the key, and shows no secret."""

import pytest

from helios import toml_file
from helios.adapters.notifications.registry import targets_of
from helios.errors import ConfigurationError
from helios.notifications import parse, secrets_of

OPS = '[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "https://hooks.example.com/helios"\n'
CHAT = '[[receiver]]\nname = "chat"\nkind = "slack"\n'
SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret


def parsed(text: str):
    return parse(toml_file.parse(text, name="n.toml"))


def test_a_file_declares_receivers_and_routes():
    declared = parsed(f'digest_above = 5\n{OPS}{CHAT}[[route]]\nto = ["ops", "chat"]\nseverity = "error"\n')

    assert (declared.digest_above, [receiver.name for receiver in declared.receiver]) == (5, ["ops", "chat"])
    assert declared.route[0].to == ("ops", "chat")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digest_above = 0", "n.toml, line 1: digest_above: "),
        ("digest = 1", "n.toml, line 1: .*unknown field `digest`"),
        (OPS.replace("webhook", "fax"), r"n.toml, line 3: receiver\[0\].kind: "),
        (OPS.replace('url = "https://hooks.example.com/helios"', ""), r"line 1: receiver\[0\].url: is missing"),
        (OPS + OPS, r"line 6: receiver\[1\].name: 'ops' is already the name of another receiver"),
        (CHAT + 'url = "https://x"', r"line 4: receiver\[0\].url: is only that of a webhook"),
        (OPS + '[[route]]\nto = ["nobody"]', r"line 6: route\[0\].to: 'nobody' is no receiver: use ops"),
        (OPS + "[[route]]\nto = []", r"line 6: route\[0\].to: "),
        (OPS + '[[route]]\nto = ["ops"]\nseverity = "bad"', r"line 7: route\[0\].severity: "),
        ("receiver = 1", "line 1: receiver: must be an array of tables"),
        ("[[receiver]", "n.toml: "),
    ],
)
def test_a_mistake_names_its_line_and_key(text, message):
    with pytest.raises(ConfigurationError, match=message):
        parsed(text)


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ("", r"the receiver ops has no secret: add ops=whsec_\.\.\."),
        (f"ops={SECRET}", "the receiver chat has no secret: add chat=the Apprise URL"),
        (f"ops={SECRET} {SECRET}", "entry 2 is not NAME=SECRET"),
        (f"ops={SECRET} other={SECRET}", "entry 2 is not NAME=SECRET"),
        (f"ops={SECRET} chat=slack://a chat=slack://b", "chat has 2 secrets, and needs one"),
    ],
)
def test_a_mistake_in_the_secrets_is_named_without_a_secret(secrets, message):
    with pytest.raises(ConfigurationError, match=message) as fault:
        secrets_of(secrets, parsed(OPS + CHAT).receiver)
    assert SECRET not in str(fault.value)


@pytest.mark.parametrize(
    ("text", "secrets", "message"),
    [
        (OPS, "ops=whsec_short", "HELIOS_NOTIFICATION_SECRETS: ops: expected whsec_"),
        (OPS.replace("https://", "http://"), f"ops={SECRET}", "the url of the receiver ops is not https://"),
        (
            OPS.replace("https://", "https://kim@"),
            f"ops={SECRET}",
            "the url of the receiver ops is not https://HOST/PATH",
        ),
    ],
)
def test_a_target_that_can_not_be_used_is_refused_at_the_start(text, secrets, message):
    with pytest.raises(ConfigurationError, match=message):
        targets_of(parsed(text), secrets=secrets, loopback=False)
