"""Every WebSocket message fits API Gateway's limit, whatever its batch contains, and its sums are exact."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as some

from helios.model.counts import OTHER_TYPES, Count
from helios.model.events import MAX_ID_CHARS, MAX_NAME_CHARS, MAX_TEXT_CHARS
from helios.model.stream import MAX_FRAME_EVENTS, EventSummary, FlowChange, StreamFrame
from helios.services.relay import MAX_MESSAGE_BYTES, messages

NOON = datetime(2025, 11, 26, 12, tzinfo=UTC)
OUTCOMES = ("stored", "duplicate", "contradictory", "rejected")

sources = some.sampled_from(["aws", "gcp", "azure"])
# Long names that are cheap to generate.
names = some.builds(
    lambda word, repeated: (word * repeated)[:MAX_NAME_CHARS],
    some.text(some.characters(codec="utf-8"), min_size=1, max_size=4),
    some.integers(1, MAX_NAME_CHARS),
)
counts = some.builds(
    Count,
    minute=some.integers(0, 2).map(lambda minutes: NOON + timedelta(minutes=minutes)),
    source=sources,
    type=names,
    **dict.fromkeys(OUTCOMES, some.integers(0, 500)),
)
many_counts = some.builds(
    lambda number, source, word: [
        Count(minute=NOON, source=source, type=f"{number}{word}"[:MAX_NAME_CHARS], stored=number + 1)
        for number in range(number)
    ],
    some.integers(0, 600),
    sources,
    names,
)
events = some.builds(
    EventSummary,
    source=sources,
    id=names.map(lambda name: name[:MAX_ID_CHARS]),
    type=names,
    subject=names.map(lambda name: (name * 8)[:MAX_TEXT_CHARS]),
    time=some.just(NOON),
    received_at=some.just(NOON),
    order_id=names,
    customer_id=names,
    amount=some.just(Decimal("249.97")),
)
changes = some.builds(
    FlowChange,
    flow=names,
    key=names,
    status=some.just("matched"),
    previous=some.just("open"),
    issues=some.just([]),
    amount=some.none(),
    opened_at=some.just(NOON),
)
bodies = some.fixed_dictionaries(
    {
        "counts": some.lists(counts, max_size=20) | many_counts,
        "events": some.lists(events, max_size=3).map(lambda sample: sample * (MAX_FRAME_EVENTS // 3)),
        "flows": some.lists(changes, max_size=3).map(lambda sample: sample * (MAX_FRAME_EVENTS // 3)),
        "flow_statuses": some.dictionaries(names, some.just({"matched": 1, "open": -1}), max_size=5)
        | some.integers(0, 400).map(lambda flows: {f"{flow:0>{MAX_NAME_CHARS}}": {"open": 1} for flow in range(flows)}),
    }
)
streams = some.lists(bodies, min_size=1, max_size=5).map(
    lambda contents: [
        msgspec.convert({"position": place, "published_at": NOON} | body, StreamFrame, from_attributes=True)
        for place, body in enumerate(contents, 1)
    ]
)


def sums(frames) -> Counter[tuple[str, str, str]]:
    """The number of deliveries by minute, source and outcome."""
    totals: Counter[tuple[str, str, str]] = Counter()
    for frame in frames:
        for count in frame["counts"]:
            totals.update({(count["minute"], count["source"], outcome): count[outcome] for outcome in OUTCOMES})
    return totals


@given(streams)
def test_no_message_is_too_large_and_every_frame_is_sent_or_named(stream):
    """Each position is in order, with exact sums or as a reference that the client can fetch."""
    sent = list(messages(stream))
    decoded = [json.loads(message) for _, message in sent]
    received = [
        frame for message in decoded for frame in message.get("frames", [{"position": message.get("position")}])
    ]

    assert max(len(message) for _, message in sent) <= MAX_MESSAGE_BYTES
    assert [frame["position"] for frame in received] == [frame.position for frame in stream]
    assert [position for position, _ in sent][-1] == stream[-1].position
    complete = [frame for frame in received if "counts" in frame]
    positions = {frame["position"] for frame in complete}
    expected = [json.loads(msgspec.json.encode(frame)) for frame in stream if frame.position in positions]
    assert sums(complete) == sums(expected)


def test_counts_of_five_hundred_long_types_fit_one_message_and_stay_exact():
    """The most frequent types have their names, and only the others are combined."""
    counts = [Count(minute=NOON, source="aws", type=f"{n:0>256}", stored=1) for n in range(499)]
    counts.append(Count(minute=NOON, source="gcp", type="Usual", stored=9, duplicate=2))
    frame = StreamFrame(position=7, published_at=NOON, counts=counts, events=[])
    ((position, message),) = messages([frame])
    (received,) = json.loads(message)["frames"]

    assert (position, len(message) <= MAX_MESSAGE_BYTES) == (7, True)
    assert received["counts"][0] | {"minute": None} == {
        "minute": None,
        "source": "gcp",
        "type": "Usual",
        "stored": 9,
        "duplicate": 2,
        "contradictory": 0,
        "rejected": 0,
    }
    assert received["counts"][-1]["type"] == OTHER_TYPES
    assert sum(count["stored"] for count in received["counts"] if count["source"] == "aws") == 499


def test_a_frame_that_can_not_be_reduced_is_sent_as_its_position():
    """The frames before and after it are sent completely."""
    first, large, last = (StreamFrame(position=n, published_at=NOON, counts=[], events=[]) for n in (1, 2, 3))
    verdicts = {f"{flow:0>256}": {"open": 1} for flow in range(400)}
    stream = [first, msgspec.structs.replace(large, flow_statuses=verdicts), last]

    assert [position for position, _ in messages(stream)] == [1, 2, 3]
    assert json.loads(list(messages(stream))[1][1]) == {"type": "position", "position": 2}
