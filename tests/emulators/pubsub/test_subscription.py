"""The rules of delivery, with time as an argument."""

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


def ids(taken):
    return [one.message.id for one in taken]


def test_a_lease_ends_at_its_deadline_and_not_before():
    state = subscription()
    state.add(message(1))
    state.take(1, now=0)

    assert ids(state.take(1, now=9.9)) == []
    assert ids(state.take(1, now=10)) == ["1"]


def test_a_lease_can_be_extended_but_not_after_its_end():
    state = subscription()
    state.add(message(1))
    (taken,) = state.take(1, now=0)

    assert state.modify_deadline(taken.ack_id, 20, now=5)
    assert ids(state.take(1, now=24)) == []
    assert ids(state.take(1, now=25)) == ["1"]
    assert not state.modify_deadline(taken.ack_id, 20, now=26)
    assert state.acknowledge(taken.ack_id) is None


def test_the_wait_after_a_failure_doubles_up_to_its_limit():
    state = subscription(minimum_backoff=1.0, maximum_backoff=4.0)
    state.add(message(1))
    now, waits = 0.0, []
    for _ in range(5):
        (taken,) = state.take(1, now)
        state.modify_deadline(taken.ack_id, 0, now)
        due = state.next_event()
        assert due is not None
        assert state.take(1, due - 0.01) == []
        waits.append(due - now)
        now = due

    assert waits == [1, 2, 4, 4, 4]


def test_a_message_is_given_up_after_its_last_attempt():
    lost = []

    def take_over(one, attempts):
        lost.append((one.id, attempts))
        return True

    state = subscription(give_up=take_over, max_attempts=5)
    state.add(message(1))
    for _ in range(5):
        (taken,) = state.take(1, now=0)
        state.modify_deadline(taken.ack_id, 0, now=0)

    assert lost == [("1", 5)]
    assert list(state.unacknowledged()) == []


def nack(state, *taken, now=0.0):
    for one in taken:
        state.modify_deadline(one.ack_id, 0, now)


def test_a_message_that_nobody_takes_over_is_delivered_again():
    """Its dead-letter topic was deleted, say."""
    state = subscription(give_up=lambda _message, _attempts: False, max_attempts=1)
    state.add(message(1))
    nack(state, *state.take(1, now=0))

    assert ids(state.take(1, now=0)) == ["1"]


def test_an_error_while_a_message_is_given_up_does_not_lose_it():
    """The disk is full, say."""

    def broken(one, attempts):
        raise OSError(errno.ENOSPC, "the disk is full")

    state = subscription(give_up=broken, max_attempts=1)
    state.add(message(1))
    (taken,) = state.take(1, now=0)
    with pytest.raises(OSError, match="full"):
        nack(state, taken)

    assert ids(state.take(1, now=0)) == ["1"]


def test_a_message_may_fail_for_ever():
    """Doubling 2000 times is more than a number can hold."""
    state = subscription(minimum_backoff=1.0, maximum_backoff=60.0)
    state.add(message(1))
    now = 0.0
    for _ in range(2000):
        (taken,) = state.take(1, now)
        nack(state, taken, now=now)
        now += 60

    assert ids(state.take(1, now)) == ["1"]


def test_a_message_that_fails_at_once_does_not_keep_the_others_back():
    state = subscription()
    state.add(message(1))
    state.add(message(2))
    nack(state, *state.take(1, now=0))

    assert ids(state.take(1, now=0)) == ["2"]


def test_no_more_is_handed_out_at_once_than_a_client_can_receive():
    state = subscription()
    for number in range(3):
        state.add(Message(str(number), b"x" * 6_000_000, {}, "", 0.0))

    assert [ids(state.take(10, now=0)) for _ in range(4)] == [["0"], ["1"], ["2"], []]


def test_what_is_owed_keeps_the_order_of_a_key():
    """The journal is written from it, and the next process delivers in that order."""
    state = subscription(ordered=True)
    for number in range(3):
        state.add(message(number, "a"))
    state.take(1, now=0)

    assert [one.id for one in state.unacknowledged()] == ["0", "1", "2"]


def test_an_ordering_key_has_one_message_under_way():
    state = subscription(ordered=True)
    for number, key in [(1, "a"), (2, "a"), (3, "b"), (4, "")]:
        state.add(message(number, key))
    first = state.take(10, now=0)

    assert ids(first) == ["1", "3", "4"]
    state.acknowledge(first[0].ack_id)
    assert ids(state.take(10, now=0)) == ["2"]


def test_what_follows_does_not_overtake_a_message_that_failed():
    state = subscription(ordered=True, minimum_backoff=1.0, maximum_backoff=1.0)
    state.add(message(1, "a"))
    state.add(message(2, "a"))
    (taken,) = state.take(1, now=0)
    state.modify_deadline(taken.ack_id, 0, now=0)

    assert ids(state.take(10, now=0.5)) == []
    assert ids(state.take(10, now=1)) == ["1"]


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
def test_a_filter_means_what_it_says(text, attributes, expected):
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
def test_a_filter_outside_of_the_grammar_is_refused(text):
    with pytest.raises(BadFilter):
        parse(text)
