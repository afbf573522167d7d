"""A libFuzzer program (atheris): any bytes, delivered by any channel, become an event or a rejection with a reason.

Each event is evaluated as every leg of an order. The arguments are libFuzzer's. The first byte of the input selects the
channel, so that one corpus serves all channels.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import atheris
from msgspec.structs import replace

with atheris.instrument_imports(include=["helios"]):
    from helios.errors import Rejected
    from helios.model.events import Event
    from helios.normalise import NORMALISERS, normalise, split
    from helios.reconciliation.declaration import load
    from helios.reconciliation.evaluate import FlowEvaluator
    from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet, merge
    from helios.sources.declaration import load as load_sources

CHANNELS = sorted(NORMALISERS)
RECEIVED_AT = datetime(2025, 11, 26, 12, tzinfo=UTC)
DECLARATIONS = {"webhook": load_sources(str(Path(__file__).with_name("sources.toml"))).declared["stripe"]}
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
    """Normalise one delivery, with the headers of CloudEvents if its first byte is odd."""
    choice, body = (data[0], data[1:]) if data else (0, b"")
    channel = CHANNELS[choice // 2 % len(CHANNELS)]
    headers = HEADERS if choice % 2 else {}
    for delivery in split(channel, body, headers, RECEIVED_AT, DECLARATIONS.get(channel)):
        try:
            event = normalise(delivery)
        except Rejected as fault:
            if not fault.reason or not fault.field:
                raise AssertionError("a rejection must name its field and its reason") from fault
        else:
            if not isinstance(event, Event):
                raise TypeError(f"{event!r} is no event")
            evaluate(event)


def evaluate(event: Event) -> None:
    """Evaluate the event as every leg of an order, against evidence whose fields are one character shorter."""
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
