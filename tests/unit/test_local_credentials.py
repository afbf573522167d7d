"""The local stack has random credentials, which only its user can read."""

import stat

import msgspec
import pytest

from helios.errors import ConfigurationError
from helios.processes.instance import Instance
from helios.processes.private import private_folder
from local.emulators.journal import Journal
from local.stack import config, credentials


class Line(msgspec.Struct):
    text: str


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_each_state_folder_has_its_own_credentials(tmp_path):
    one, other = (msgspec.to_builtins(credentials.load(tmp_path / name)) for name in ("one", "other"))
    values = [*one.values(), *other.values()]
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 32


def test_later_runs_use_the_same_credentials(tmp_path):
    assert credentials.load(tmp_path) == credentials.load(tmp_path)


def test_a_file_of_an_earlier_version_gets_the_credentials_that_it_lacks(tmp_path):
    (tmp_path / "credentials.json").write_text('{"postgres": "stored"}')
    first = credentials.load(tmp_path)
    assert (first.postgres, credentials.load(tmp_path)) == ("stored", first)


def test_only_the_user_can_read_the_state_folder_and_its_files(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    credentials.load(folder)
    (folder / "credentials.json").chmod(0o644)
    credentials.load(folder)
    journal = Journal(folder / "pubsub" / "journal", msgspec.json.Decoder(Line))
    journal.rewrite([Line("payload")])
    journal.close()
    assert mode(folder) == mode(folder / "pubsub") == 0o700
    assert mode(folder / "credentials.json") == mode(folder / "pubsub" / "journal") == 0o600


def test_a_demo_makes_its_state_folder_private(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    with Instance(folder, "running"):
        assert mode(folder) == 0o700


def test_a_folder_that_users_share_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o1777)
    private_folder(tmp_path)
    assert mode(tmp_path) == 0o1777


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "credentials.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"credentials\.json can't be read"):
        credentials.load(tmp_path)


def test_credentials_are_not_shown(tmp_path):
    one = credentials.load(tmp_path)
    assert one.postgres not in repr(one)
    assert one.postgres not in repr(config.Config(state=str(tmp_path)))
