"""HTTP functions: routes, keys, requests and responses."""

import json

import pytest

from tests.emulators.azure_host.hosted import DEFAULT, EVENT_GRID, MASTER, Hosted


def test_a_request_reaches_the_function_and_its_response_comes_back(host: Hosted):
    answer = host.call(
        "POST", f"/shop/orders/42?a=1&b=2&b=3&code={DEFAULT}", b"hello", x_test="yes", content_type="text/plain"
    )
    assert (answer.status, answer.headers["x-answer"], answer.headers["content-type"]) == (
        201,
        "42",
        "application/json",
    )
    assert json.loads(answer.body) == {
        "method": "POST",
        "number": "42",
        "query": {"a": "1", "b": "2,3", "code": DEFAULT},
        "header": "yes",
        "body": "hello",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/shop/orders/latest", 200, "latest for GET"),
        ("GET", "/SHOP/Orders/LATEST", 200, "latest for GET"),
        ("GET", "/shop/files/a/b.txt", 200, "a/b.txt"),
        ("GET", "/shop/files", 200, "nothing"),
        ("GET", f"/shop/orders/x?code={DEFAULT}", 404, ""),
        ("PUT", f"/shop/orders/1?code={DEFAULT}", 404, ""),
        ("GET", "/shop/nothing", 404, ""),
        ("GET", "/api/orders/latest", 404, ""),
        ("GET", "/shop/fails", 500, ""),
        ("GET", "/shop/returns_nothing", 500, ""),
        ("GET", "/shop/cookies", 200, "biscuit"),
    ],
)
def test_routes_and_answers(host: Hosted, method: str, path: str, status: int, body: str):
    answer = host.call(method, path)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/shop/orders/1", "", 401),
        ("/shop/orders/1", "wrong", 401),
        ("/shop/orders/1", EVENT_GRID, 401),
        ("/shop/orders/1", DEFAULT, 201),
        ("/shop/orders/1", MASTER, 201),
        ("/shop/admin_only", DEFAULT, 401),
        ("/shop/admin_only", MASTER, 204),
    ],
)
def test_keys(host: Hosted, path: str, key: str, status: int):
    assert host.call("GET", path, x_functions_key=key).status == status


def test_an_exception_is_logged_with_its_stack(host: Hosted):
    host.call("GET", "/shop/fails")
    failures = [json.loads(line) for line in host.log.read_text().splitlines() if "Executed: Failed" in line]
    assert any(one["function"] == "fails" and "told to fail" in one["exception"] for one in failures)
