"""The rules of delivery of a subscription, with the time as an argument."""

import errno

import pytest

from local.emulators.pubsub.filters import BadFilter, parse
from local.emulators.pubsub.subscription import Message, Policy, Subscription


def message(number: int, key: str = "") -> Message:
    return Message(str(number), b"x", {}, key, 0.0)


def subscription(give_up=None, **policy) -> Subscription:
    rules = {
        "ack_deadline": 10.0,
        "minimum_backoff": 0.0,
        "maximum_backoff": 0.0,
        "max_attempts": None,
        "ordered": False,
        "matches": parse(""),
    }
    return Subscription(Policy(**rules | policy), give_up=give_up or (lambda _message, _attempts: True))


def ids(deliveries):
    return [delivery.message.id for delivery in deliveries]


def test_a_lease_ends_at_its_deadline():
    state = subscription()
    state.add(message(1))
    state.take(1, now=0)

    assert ids(state.take(1, now=9.9)) == []
    assert ids(state.take(1, now=10)) == ["1"]


def test_a_lease_can_be_extended_only_before_its_end():
    state = subscription()
    state.add(message(1))
    (delivery,) = state.take(1, now=0)

    assert state.modify_deadline(delivery.ack_id, 20, now=5)
    assert ids(state.take(1, now=24)) == []
    assert ids(state.take(1, now=25)) == ["1"]
    assert not state.modify_deadline(delivery.ack_id, 20, now=26)
    assert state.acknowledge(delivery.ack_id) is None


def test_the_backoff_doubles_up_to_its_limit():
    state = subscription(minimum_backoff=1.0, maximum_backoff=4.0)
    state.add(message(1))
    now, delays = 0.0, []
    for _ in range(5):
        (delivery,) = state.take(1, now)
        state.modify_deadline(delivery.ack_id, 0, now)
        due = state.next_event()
        assert due is not None
        assert state.take(1, due - 0.01) == []
        delays.append(due - now)
        now = due

    assert delays == [1, 2, 4, 4, 4]


def test_a_message_is_given_up_after_its_last_attempt():
    given_up = []

    def forward(message, attempts):
        given_up.append((message.id, attempts))
        return True

    state = subscription(give_up=forward, max_attempts=5)
    state.add(message(1))
    for _ in range(5):
        (delivery,) = state.take(1, now=0)
        state.modify_deadline(delivery.ack_id, 0, now=0)

    assert given_up == [("1", 5)]
    assert list(state.unacknowledged()) == []


def nack(state, *deliveries, now=0.0):
    for delivery in deliveries:
        state.modify_deadline(delivery.ack_id, 0, now)


def test_a_message_that_can_not_be_forwarded_is_delivered_again():
    """For example because its dead-letter topic was deleted."""
    state = subscription(give_up=lambda _message, _attempts: False, max_attempts=1)
    state.add(message(1))
    nack(state, *state.take(1, now=0))

    assert ids(state.take(1, now=0)) == ["1"]


def test_an_error_of_the_dead_letter_callback_loses_no_message():
    """For example because the disk is full."""

    def failing(_message, _attempts):
        raise OSError(errno.ENOSPC, "the disk is full")

    state = subscription(give_up=failing, max_attempts=1)
    state.add(message(1))
    (delivery,) = state.take(1, now=0)
    with pytest.raises(OSError, match="full"):
        nack(state, delivery)

    assert ids(state.take(1, now=0)) == ["1"]


def test_the_backoff_does_not_overflow():
    """Doubled 2000 times, the delay would exceed the range of a float."""
    state = subscription(minimum_backoff=1.0, maximum_backoff=60.0)
    state.add(message(1))
    now = 0.0
    for _ in range(2000):
        (delivery,) = state.take(1, now)
        nack(state, delivery, now=now)
        now += 60

    assert ids(state.take(1, now)) == ["1"]


def test_a_failed_message_does_not_delay_the_others():
    state = subscription()
    state.add(message(1))
    state.add(message(2))
    nack(state, *state.take(1, now=0))

    assert ids(state.take(1, now=0)) == ["2"]


def test_a_pull_returns_no_more_bytes_than_a_client_can_receive():
    state = subscription()
    for number in range(3):
        state.add(Message(str(number), b"x" * 6_000_000, {}, "", 0.0))

    assert [ids(state.take(10, now=0)) for _ in range(4)] == [["0"], ["1"], ["2"], []]


def test_unacknowledged_messages_have_the_order_of_their_key():
    """The emulator writes its journal in this order, and the next process delivers in it."""
    state = subscription(ordered=True)
    for number in range(3):
        state.add(message(number, "a"))
    state.take(1, now=0)

    assert [message.id for message in state.unacknowledged()] == ["0", "1", "2"]


def test_messages_of_one_key_are_delivered_together_in_their_order():
    state = subscription(ordered=True)
    for number, key in [(1, "a"), (2, "b"), (3, "a"), (4, ""), (5, "a")]:
        state.add(message(number, key))

    assert ids(state.take(10, now=0)) == ["1", "3", "5", "2", "4"]


def test_no_message_of_a_key_is_delivered_before_all_delivered_ones_are_acknowledged():
    """Another client may take the next ones, and finish them earlier."""
    state = subscription(ordered=True)
    for number in range(1, 5):
        state.add(message(number, "a"))
    first, second = state.take(2, now=0)
    state.add(message(5, "a"))
    state.acknowledge(second.ack_id)

    assert ids(state.take(10, now=0)) == []
    state.acknowledge(first.ack_id)
    assert ids(state.take(10, now=0)) == ["3", "4", "5"]


def test_a_push_has_one_message_of_an_ordering_key():
    state = subscription(ordered=True, one_per_key=True)
    for number, key in [(1, "a"), (2, "a"), (3, "b"), (4, "")]:
        state.add(message(number, key))
    first = state.take(10, now=0)

    assert ids(first) == ["1", "3", "4"]
    state.acknowledge(first[0].ack_id)
    assert ids(state.take(10, now=0)) == ["2"]


def test_no_later_message_of_a_key_overtakes_a_failed_one():
    state = subscription(ordered=True, minimum_backoff=1.0, maximum_backoff=1.0)
    for number in range(1, 4):
        state.add(message(number, "a"))
    first, second = state.take(2, now=0)
    nack(state, first)

    assert state.acknowledge(second.ack_id) is None  # delivered before the first one succeeded
    assert ids(state.take(10, now=0.5)) == []
    assert [(delivery.message.id, delivery.attempt) for delivery in state.take(10, now=1)] == [
        ("1", 2),
        ("2", 1),
        ("3", 1),
    ]


def test_a_failed_message_of_a_key_waits_for_the_earlier_ones():
    state = subscription(ordered=True)
    for number in range(1, 4):
        state.add(message(number, "a"))
    first, second, _ = state.take(3, now=0)
    nack(state, second)

    assert ids(state.take(10, now=0)) == []
    nack(state, first)
    assert ids(state.take(10, now=0)) == ["1", "2", "3"]


def test_a_replaced_message_is_not_delivered_again():
    state = subscription(ordered=True)
    for number, key in [(1, "a"), (2, "a"), (3, ""), (4, "")]:
        state.add(message(number, key))
    leased = state.take(2, now=0)
    state.replace([message(2, "a"), message(5)])

    assert [state.acknowledge(delivery.ack_id) for delivery in leased] == [None, None]
    assert ids(state.take(10, now=0)) == ["2", "5"]
    assert ids(state.take(10, now=20)) == ["2", "5"]


def test_a_delivery_has_no_more_bytes_than_the_client_asked_for():
    state = subscription()
    for number in range(4):
        state.add(message(number))

    assert ids(state.take(10, now=0, most_bytes=2)) == ["0", "1"]
    assert ids(state.take(10, now=0, most_bytes=0)) == ["2"]  # one message may be larger than the limit


@pytest.mark.parametrize("ordered", [False, True])
def test_each_message_is_counted_in_one_state(ordered):
    state = subscription(ordered=ordered, minimum_backoff=1.0, maximum_backoff=1.0)
    for number in range(5):
        state.add(message(number, "a" if number < 3 else "b"))
    nack(state, state.take(1, now=0)[0])
    state.take(1, now=0)

    assert (state.waiting, state.leased, state.backing_off) == (3, 1, 1)


@pytest.mark.parametrize(
    ("text", "attributes", "expected"),
    [
        ("", {}, True),
        ('attributes."my key" = "v"', {"my key": "v"}, True),
        (r'attributes.k = "a\"b"', {"k": 'a"b'}, True),
        ("attributes:a AND attributes:b AND attributes:c", {"a": "", "b": ""}, False),
        ("-attributes:a", {"a": ""}, False),
        ("(attributes:a OR attributes:b) AND attributes:c", {"b": "", "c": ""}, True),
        ('hasPrefix(attributes.k, "")', {}, False),
    ],
)
def test_a_filter_matches_the_attributes(text, attributes, expected):
    assert parse(text)(attributes) is expected


@pytest.mark.parametrize(
    "text",
    [
        "attributes",
        "attributes.k",
        "attributes.k = v",
        'attributes.k = "v" attributes:x',
        "attributes:a AND attributes:b OR attributes:c",
        "(attributes:a",
        "data:a",
        "attributes:a AND",
        "x" * 257,
    ],
)
def test_an_invalid_filter_is_refused(text):
    with pytest.raises(BadFilter):
        parse(text)
