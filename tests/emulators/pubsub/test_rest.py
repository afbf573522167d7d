"""The API over REST, on the port of gRPC."""

import base64
import json
import socket
import urllib.error
import urllib.request

import grpc
import pytest
from google.api_core.exceptions import NotFound
from google.auth.credentials import AnonymousCredentials
from google.pubsub_v1 import PublisherClient, SchemaServiceClient, SubscriberClient, types
from google.pubsub_v1.services.publisher.transports import PublisherRestTransport
from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberRestTransport

from helios.processes.ports import HOST


def call(emulator, method, path, body=None, **headers):
    """The status and the body of the answer, as curl shows them."""
    request = urllib.request.Request(
        f"http://{HOST}:{emulator.port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **headers},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        content = error.read()
        return error.code, json.loads(content) if content.startswith(b"{") else content.decode()


@pytest.fixture
def created(emulator, project):
    """The paths of a topic with a subscription."""
    topic, name = f"projects/{project}/topics/orders", f"projects/{project}/subscriptions/orders"
    assert call(emulator, "PUT", f"/v1/{topic}", {})[0] == 200
    assert call(emulator, "PUT", f"/v1/{name}", {"topic": topic, "ackDeadlineSeconds": 20})[0] == 200
    return topic, name


def test_a_message_can_be_published_pulled_and_acknowledged_over_http(emulator, created):
    topic, name = created
    message = {"data": base64.b64encode(b"1").decode(), "attributes": {"k": "v"}}
    _, published = call(emulator, "POST", f"/v1/{topic}:publish", {"messages": [message]})
    _, pulled = call(emulator, "POST", f"/v1/{name}:pull", {"maxMessages": 10})
    (received,) = pulled["receivedMessages"]

    assert [received["message"]["messageId"]] == published["messageIds"]
    assert base64.b64decode(received["message"]["data"]) == b"1"
    assert received["message"]["attributes"] == {"k": "v"}
    assert call(emulator, "POST", f"/v1/{name}:acknowledge", {"ackIds": [received["ackId"]]}) == (200, {})


def test_a_subscription_can_be_read_updated_and_listed_over_http(emulator, project, created):
    topic, name = created
    update = {"subscription": {"ackDeadlineSeconds": 42}, "updateMask": "ackDeadlineSeconds"}
    status, updated = call(emulator, "PATCH", f"/v1/{name}", update)

    assert (status, updated["ackDeadlineSeconds"], updated["pushConfig"]) == (200, 42, {})
    assert call(emulator, "GET", f"/v1/{name}") == (200, updated)
    assert call(emulator, "GET", f"/v1/projects/{project}/subscriptions?pageSize=5") == (
        200,
        {"subscriptions": [updated]},
    )
    assert call(emulator, "GET", f"/v1/{topic}/subscriptions") == (200, {"subscriptions": [name]})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/projects/{project}/topics/nothing", None, (404, "NOT_FOUND")),
        ("PUT", "/v1/projects/{project}/topics/orders", {}, (409, "ALREADY_EXISTS")),
        ("GET", "/v1/projects/{project}/topics/x", None, (400, "INVALID_ARGUMENT")),
        ("POST", "/v1/projects/{project}/topics/orders:publish", {"messages": [{}]}, (400, "INVALID_ARGUMENT")),
    ],
)
def test_an_error_has_the_status_and_the_form_of_google_s_apis(emulator, project, created, method, path, body, status):
    code, answer = call(emulator, method, path.format(project=project), body)

    assert (code, answer["error"]["code"], answer["error"]["status"]) == (status[0], *status)
    assert answer["error"]["message"]


@pytest.mark.parametrize("body", [{"nonsense": 1}, {"ackDeadlineSeconds": "many"}, ["a list"]])
def test_a_body_that_does_not_fit_is_invalid(emulator, project, body):
    code, answer = call(emulator, "PUT", f"/v1/projects/{project}/subscriptions/orders", body)

    assert (code, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_a_project_without_schemas_has_an_empty_list_of_them(emulator, project):
    schemas = SchemaServiceGrpcTransport(channel=grpc.insecure_channel(f"{HOST}:{emulator.port}"))
    with SchemaServiceClient(transport=schemas) as client:
        assert list(client.list_schemas(parent=f"projects/{project}")) == []

    status, answer = call(emulator, "GET", f"/v1/projects/{project}/schemas")
    assert (status, answer.get("schemas", [])) == (200, [])


def test_a_method_that_is_not_imitated_is_unimplemented(helios_emulator, project):
    code, answer = call(helios_emulator, "GET", f"/v1/projects/{project}/topics/orders:getIamPolicy")

    assert (code, answer["error"]["status"]) == (501, "UNIMPLEMENTED")


@pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_a_web_page_can_not_use_the_api(helios_emulator, project, header):
    code, _ = call(helios_emulator, "PUT", f"/v1/projects/{project}/topics/orders", {}, **header)

    assert code == 403


def test_google_s_client_works_over_rest(emulator, project):
    host, anonymous = f"{HOST}:{emulator.port}", AnonymousCredentials()
    topic, name = f"projects/{project}/topics/orders", f"projects/{project}/subscriptions/orders"
    with (
        PublisherClient(
            transport=PublisherRestTransport(host=host, credentials=anonymous, url_scheme="http")
        ) as publisher,
        SubscriberClient(
            transport=SubscriberRestTransport(host=host, credentials=anonymous, url_scheme="http")
        ) as subscriber,
    ):
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=name, topic=topic)
        publisher.publish(topic=topic, messages=[types.PubsubMessage(data=b"1")])
        (received,) = subscriber.pull(subscription=name, max_messages=1).received_messages
        subscriber.acknowledge(subscription=name, ack_ids=[received.ack_id])

        assert received.message.data == b"1"
        assert [subscription.name for subscription in subscriber.list_subscriptions(project=f"projects/{project}")] == [
            name
        ]
        with pytest.raises(NotFound):
            publisher.get_topic(topic=f"{topic}-nothing")


def test_the_first_bytes_may_arrive_one_by_one(helios_emulator):
    """Of both protocols, also where both begin with P: PRI and PUT."""
    with socket.create_connection((HOST, helios_emulator.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"PUT /v1/projects/p/topics/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}":
            connection.sendall(bytes([byte]))
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    with socket.create_connection((HOST, helios_emulator.port), timeout=20) as connection:
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]):
            connection.sendall(bytes([byte]))
        frame = connection.recv(9)
        assert (len(frame), frame[3]) == (9, 4)  # SETTINGS, by RFC 9113 the server's first frame
