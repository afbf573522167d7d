"""Which hosts, ports and addresses a replay job may send stored events to."""

import ipaddress

import pytest

from helios.adapters.guarded_http import forbidden, hosts_of
from helios.adapters.replay.webhook import WebhookTarget
from helios.errors import ConfigurationError, Rejected

METADATA_AND_TRANSITION = [
    "fd20:ce::254",  # Google Cloud
    "fd20:ce:ffff::1",
    "fd00:42::42",  # Scaleway
    "fd00:c1::a9fe:a9fe",  # Oracle Cloud
    "fec0::1",
    "feff:ffff::1",
    "2001:db8::5efe:a9fe:a9fe",
    "fd00::200:5efe:a9fe:a9fe",
    "2a00:1450:4001:82a:0:5efe:7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
]


@pytest.mark.parametrize("address", METADATA_AND_TRANSITION)
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("loopback", [False, True])
def test_metadata_site_local_and_isatap_addresses_are_refused_whatever_is_set(address, private, loopback):
    assert forbidden(ipaddress.ip_address(address), private=private, loopback=loopback)


@pytest.mark.parametrize("address", ["fd20:cf::254", "fd00:42::43", "fd12::5efe", "10.0.0.1"])
def test_other_private_addresses_are_allowed_for_a_private_host(address):
    assert forbidden(ipaddress.ip_address(address), private=True, loopback=False) is None


def opens(setting: str, url: str) -> bool:
    """Whether a webhook at this URL is allowed."""
    try:
        WebhookTarget(url, hosts=hosts_of(setting), keys=[b"k"], loopback=False)
    except Rejected as rejection:
        assert rejection.field == "target.url"
        return False
    return True


@pytest.mark.parametrize(
    ("setting", "url", "allowed"),
    [
        ("hooks.example", "https://hooks.example/", True),
        ("hooks.example", "https://hooks.example:443/", True),
        ("hooks.example", "https://hooks.example:22/", False),
        ("hooks.example:8443", "https://hooks.example:8443/", True),
        ("hooks.example:8443", "https://hooks.example/", False),
        ("hooks.example:8443 hooks.example", "https://hooks.example/", True),
        ("HOOKS.example:*", "https://hooks.example:22/", True),
        ("private:intranet", "http://intranet:6379/", False),
        ("private:intranet", "http://intranet/", False),
        ("private:intranet:80", "http://intranet/", True),
        ("private:intranet:80 intranet", "http://intranet:443/", False),
        ("private:[fd12::1]:8080", "http://[fd12::1]:8080/", True),
        ("[2a00::1]", "https://[2a00::1]/", True),
        ("[2a00::1]", "https://[2a00::1]:22/", False),
    ],
)
def test_a_webhook_is_allowed_on_the_port_of_its_entry_only(setting, url, allowed):
    """Without a port, an entry is for 443: a host that may get events need not have every service called."""
    assert opens(setting, url) == allowed


@pytest.mark.parametrize(
    "entry", ["https://hooks.example", "hooks.example/x", "hooks.example:", "hooks.example:0", "hooks.example:65536",
              "hooks.example:ssh", "private:", "2a00::1", "a:1:2"]
)  # fmt: skip
def test_an_entry_of_another_form_is_a_configuration_error(entry):
    with pytest.raises(ConfigurationError, match="HELIOS_REPLAY_HOSTS: invalid entry"):
        hosts_of(entry)
