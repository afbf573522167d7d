"""The API as a real process, and the rows that it wrote to the database."""

from collections.abc import Iterator

import pytest
import redis

from tests.support.api import Api
from tests.support.records import Records


@pytest.fixture(scope="module")
def api_process(database_url, valkey_server, server_folder) -> Iterator[Api]:
    """One API for the tests of a module; it keeps running while its servers fail."""
    with Api(database_url=database_url, redis_url=valkey_server.url, log=server_folder / "api.log") as api:
        yield api


@pytest.fixture
def redis_url(valkey_server) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    return valkey_server.url


@pytest.fixture
def api(api_process, pool, redis_url) -> Api:
    """The API with an empty database and an empty Redis. A test that stops it starts it again."""
    return api_process


@pytest.fixture
def records(pool) -> Records:
    """The rows of the database."""
    return Records(pool)
