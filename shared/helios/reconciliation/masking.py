"""What a caller with limits sees of flow instances: no field, issue or step that reveals a hidden event or field."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from helios.model.access import MASKED, EventLimits, Visibility
from helios.model.flows import FlowInstance, FlowIssue, FlowLeg, Money, Step
from helios.model.stream import FlowChange
from helios.reconciliation.declaration import Flow, side
from helios.reconciliation.record import FlowCount
from helios.reconciliation.rule import Rule


def visible_flows(flows: Iterable[Flow], visibility: Visibility) -> dict[str, Flow]:
    """The flows whose instances the caller may see, by name.

    A verdict follows from all legs. A caller who may not see all of them sees only the flows that the token names. A
    flow whose key is masked is hidden: the key names each of its instances.
    """
    limits = EventLimits(sources=visibility.sources, types=visibility.types)

    def is_visible(flow: Flow) -> bool:
        if any(visibility.masks(path) for leg in flow.leg for path in flow.keys_of(leg)):
            return False
        if visibility.flows is not None:
            return flow.name in visibility.flows
        return all(limits.allows(leg.source, leg.type) for leg in flow.leg)

    return {flow.name: flow for flow in flows if is_visible(flow)}


def event_limits(flows: Mapping[str, Flow], visibility: Visibility) -> EventLimits:
    """The limits on events. ``flows`` are the flows whose instances the caller may see."""
    legs = None
    if visibility.flows is not None:
        named = [flows[name] for name in visibility.flows if name in flows]
        legs = tuple(dict.fromkeys((leg.source, leg.type) for flow in named for leg in flow.leg))
    return EventLimits(sources=visibility.sources, types=visibility.types, legs=legs)


class FlowMask:
    """Hides legs and fields of the instances of one flow."""

    def __init__(self, flow: Flow, limits: EventLimits, visibility: Visibility) -> None:
        """Take the flow, the events that the caller may see, and the masked fields."""
        self._visibility = visibility
        self._hidden_legs = {leg.name for leg in flow.leg if not limits.allows(leg.source, leg.type)}
        self._rule_reads = [list(_quoted_by(rule, flow)) for rule in flow.rule]
        self._leg_reads = {leg.name: [*leg.bound_reads(), (leg.name, leg.id or "")] for leg in flow.leg if leg.many}
        self._hidden_bounds = {leg.name for leg in flow.leg if any(self._hides(*read) for read in leg.bound_reads())}
        self._shows_all = not self._hidden_legs and not visibility.masked
        self._shows_amount = all(map(self._shows, flow.amount))
        self._shows_currency = all(map(self._shows, flow.currency))

    def instance(self, instance: FlowInstance) -> FlowInstance:
        """The instance: its verdict, and of each leg and issue what the caller may see."""
        if self._shows_all:
            return instance
        return msgspec.structs.replace(
            instance,
            amount=instance.amount if self._shows_amount else None,
            currency=instance.currency if self._shows_currency else None,
            legs=[self._leg(leg) for leg in instance.legs],
            issues=[self._issue(issue) for issue in instance.issues],
            # People may quote any value in a reason.
            resolution=instance.resolution and msgspec.structs.replace(instance.resolution, reason=MASKED),
        )

    def steps(self, timeline: Iterable[Step]) -> list[Step]:
        """The timeline without the steps of hidden legs, and without the words of issues."""
        if self._shows_all:
            return list(timeline)
        return list(self._visible_steps(timeline))

    def change(self, change: FlowChange) -> FlowChange:
        """The change of an instance in a frame."""
        return change if self._shows_amount else msgspec.structs.replace(change, amount=None)

    def amounts(self, amounts: list[Money]) -> list[Money]:
        """The amounts of instances; none if the caller may not see them."""
        return amounts if self._shows_amount and self._shows_currency else []

    def counts(self, counts: Iterable[FlowCount]) -> list[FlowCount]:
        """The sums of instances; without amounts if the caller may not see those of the instances."""
        if self._shows_amount and self._shows_currency:
            return list(counts)
        return [msgspec.structs.replace(count, amount=count.amount * 0) for count in counts if count.what != "risk"]

    def _shows(self, leg_and_path: str) -> bool:
        return not self._hides(*side(leg_and_path))

    def _hides(self, leg: str, path: str) -> bool:
        return leg in self._hidden_legs or self._visibility.masks(path)

    def _leg(self, leg: FlowLeg) -> FlowLeg:
        if leg.name in self._hidden_legs:
            hidden: dict[str, object] = dict.fromkeys(("source", "event_id", "producer", "time", "received_at"))
            return msgspec.structs.replace(leg, fields={}, parts=0, expected=0, deliveries=0, **hidden)
        fields = {path: MASKED if self._visibility.masks(path) else value for path, value in leg.fields.items()}
        expected = 0 if leg.name in self._hidden_bounds else leg.expected
        return msgspec.structs.replace(leg, fields=fields, expected=expected)

    def _issue(self, issue: FlowIssue) -> FlowIssue:
        """The issue, without its values and words if they reveal a hidden leg or field."""
        legs, paths = set(issue.legs), {issue.field or ""}
        for leg, path in self._quoted(issue):
            legs.add(leg)
            paths.add(path)
        is_hidden = not self._hidden_legs.isdisjoint(legs) or any(map(self._visibility.masks, paths - {""}))
        return msgspec.structs.replace(issue, values={}, detail=MASKED) if is_hidden else issue

    def _quoted(self, issue: FlowIssue) -> Iterator[tuple[str, str]]:
        """What an issue may quote beside its field, as (leg, path)."""
        if issue.kind in {"late", "duplicate"}:
            return
        for leg in issue.legs:
            yield from self._leg_reads.get(leg, ())
        if issue.kind in {"mismatch", "out_of_order", "gap"}:
            # An issue doesn't name its rule: each rule over the same legs can be the one.
            for reads in self._rule_reads:
                if {leg for leg, _ in reads} == set(issue.legs):
                    yield from reads

    def _visible_steps(self, timeline: Iterable[Step]) -> Iterator[Step]:
        for step in timeline:
            if step.leg is not None and step.leg in self._hidden_legs:
                continue
            if step.what == "verdict" and step.status:
                yield msgspec.structs.replace(step, detail=step.status.replace("_", " "))
            elif step.what == "deadline":
                yield msgspec.structs.replace(step, detail="deadline passed")
            else:
                yield step


def _quoted_by(rule: Rule, flow: Flow) -> Iterator[tuple[str, str]]:
    """What the issue of a rule may quote, as (leg, path)."""
    reads = list(rule.reads())
    yield from reads
    if rule.in_currency:
        names = {leg for leg, _ in reads}
        yield from ((leg.name, leg.currency) for leg in flow.leg if leg.currency and leg.name in names)
