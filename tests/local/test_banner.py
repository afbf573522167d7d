"""What the demo prints when it is ready."""

import pytest

from local.demo.run import banner
from local.stack import config


@pytest.mark.parametrize(
    "fact",
    [
        "region us-east-1, account 000000000000, bus helios",
        "https://127.0.0.1:8090/topics/helios-events/api/events",
        "{state}/eventgrid/tls/certificate.pem",
        "127.0.0.1:8085 (project helios-local, topic helios-events)",
    ],
)
def test_the_banner_names_what_a_client_needs(tmp_path, fact):
    """A client in another region publishes to a bus that does not exist, and the emulator of AWS accepts that."""
    settings = config.load({"HELIOS_LOCAL_STATE": str(tmp_path)})

    assert fact.format(state=tmp_path) in banner(settings, seconds=1)
