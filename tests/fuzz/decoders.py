"""A program for libFuzzer, by atheris: any bytes, as any cloud's delivery, become events or reasons, and nothing else.

An event tells each leg of a story, and is judged as such.
Its arguments are libFuzzer's own. The first byte chooses the way in, so that one corpus serves all.
"""

import sys
from datetime import UTC, datetime

import atheris
from msgspec.structs import replace

with atheris.instrument_imports(include=["helios"]):
    from helios.errors import Rejected
    from helios.model.events import Event
    from helios.normalise import NORMALISERS, normalise, split
    from helios.reconciliation.declaration import load
    from helios.reconciliation.evaluate import FlowEvaluator
    from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet, merge

CHANNELS = sorted(NORMALISERS)
RECEIVED_AT = datetime(2025, 11, 26, 12, tzinfo=UTC)
(ORDER,) = load()
EXTRACTOR, EVALUATOR = EvidenceExtractor([ORDER]), FlowEvaluator(ORDER)
HEADERS = {
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-type": "T",
    "ce-source": "/aws",
}


def decode(data: bytes) -> None:
    """Take in one delivery, with CloudEvents' headers if its first byte is odd."""
    choice, body = (data[0], data[1:]) if data else (0, b"")
    channel = CHANNELS[choice // 2 % len(CHANNELS)]
    for delivery in split(channel, body, HEADERS if choice % 2 else {}, RECEIVED_AT):
        try:
            event = normalise(delivery)
        except Rejected as fault:
            if not fault.reason or not fault.field:
                raise AssertionError("a rejection must name its field and its reason") from fault
        else:
            if not isinstance(event, Event):
                raise TypeError(f"{event!r} is no event")
            evaluator(event)


def evaluator(event: Event) -> None:
    """Let it tell every leg of an order, first as it is and then, against that, with each field cut by a character."""
    extracted = [
        keyed for leg in ORDER.leg for keyed in EXTRACTOR.extract(replace(event, type=leg.type, source=leg.source))
    ]
    for keyed in extracted:
        cut = {name: text[:-1] for name, text in keyed.evidence.fields.items()}
        overflow = [replace(keyed.evidence, leg=leg.name, fields=cut, content="cut") for leg in ORDER.leg]
        EVALUATOR.to_instance(
            keyed.key, merge([EvidenceSet(items=[keyed.evidence]), EvidenceSet(items=overflow)]), now=RECEIVED_AT
        )


if __name__ == "__main__":
    atheris.Setup(sys.argv, decode)
    atheris.Fuzz()
