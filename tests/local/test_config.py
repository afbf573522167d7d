"""Every local fact can be changed, and a wrong value is named."""

import pytest

from helios.errors import ConfigurationError
from local.stack import config


def test_a_port_and_the_state_folder_can_be_moved(tmp_path):
    moved = config.load({"HELIOS_LOCAL_POSTGRES_PORT": "5544", "HELIOS_LOCAL_STATE": str(tmp_path)})
    assert (moved.postgres_port, moved.log("api")) == (5544, tmp_path / "logs/api.log")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"HELIOS_LOCAL_API_PORT": "eighty"}, "HELIOS_LOCAL_API_PORT"),
        ({"HELIOS_LOCAL_API_PORT": "70000"}, "HELIOS_LOCAL_API_PORT"),
        ({"HELIOS_LOCAL_POSTGRESQL_PORT": "1"}, "Unknown setting HELIOS_LOCAL_POSTGRESQL_PORT"),
        ({"HELIOS_LOCAL_API_PORT": "4566"}, "HELIOS_LOCAL_AWS_PORT and HELIOS_LOCAL_API_PORT are both 4566"),
    ],
)
def test_a_wrong_setting_is_named(environ, message):
    with pytest.raises(ConfigurationError, match=message):
        config.load(environ)
