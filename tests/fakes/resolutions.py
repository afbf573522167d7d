"""Resolutions in a dictionary, beside the flow instances of a Helios in one process."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from helios.errors import Rejected
from helios.model.flows import PROBLEMS, FlowFilter, Resolution
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.model.resolutions import (
    AGES,
    DECISIONS,
    MAX_INSTANCES,
    ResolutionAction,
    ResolutionRequest,
    Workload,
    audit_entry,
    missing_instance,
)
from helios.model.stream import Frame
from helios.reconciliation.fold import is_same_record
from helios.reconciliation.record import FlowKey, FlowRecord, differences, resolutions_of, without_waiting
from tests.fakes.store import MemoryStore, MemoryUnitOfWork, StoredResolution


class _Step(NamedTuple):
    """The resolution of an instance before an action; ``holding``: the instance, if its decision held."""

    before: StoredResolution | None
    holding: FlowRecord | None


class MemoryResolutions:
    """Implements ``Resolutions``."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._actions: list[ResolutionAction] = []
        self._steps: dict[int, dict[FlowKey, _Step]] = {}

    def apply(
        self, request: ResolutionRequest, where: FlowFilter | Collection[FlowKey], *, actor: str, now: datetime
    ) -> ResolutionAction:
        """Take a step for all of these instances, in one transaction."""
        with self._store.transaction() as work:
            records = self._found(where) if isinstance(where, FlowFilter) else self._named(where)
            action = ResolutionAction(
                id=None,
                at=now,
                actor=actor,
                step=request.step,
                text=request.text,
                assignee=request.assignee,
                instances=len(records),
            )
            if request.dry_run:
                return action
            action = self._add(action, work)
            self._steps[_id(action)] = {record.identity: self._step(record) for record in records}
            decides = request.step in DECISIONS
            versions = {record.identity: record.version for record in records}
            if decides:
                versions |= _write(work, resolutions_of(records, resolved=DECISIONS[request.step] is not None))
            for key, version in versions.items():
                self._store.resolutions[key] = self._resolved(key, version, request, action)
        return action

    def undo(self, number: int, *, actor: str, now: datetime) -> ResolutionAction | None:
        """Restore what an action has changed, where no later action has changed it again."""
        with self._store.transaction() as work:
            if not 0 < number <= len(self._actions):
                return None
            undone = self._actions[number - 1]
            if undone.step == "undo":
                raise Rejected(f"{number} is an undo itself", field="action", status=409)
            if undone.undone_by is not None:
                raise Rejected(f"{number} was undone already", field="action", status=409)
            steps = {
                key: step
                for key, step in self._steps[number].items()
                if (row := self._store.resolutions.get(key)) and row.action == number
            }
            skipped = undone.instances - len(steps)
            action = ResolutionAction(
                id=None, at=now, actor=actor, step="undo", instances=len(steps), skipped=skipped, undoes=number
            )
            action = self._add(action, work)
            self._actions[number - 1] = replace(undone, undone_by=action.id)
            records = self._store.instances(steps.keys())
            self._steps[_id(action)] = {key: self._step(records[key]) for key in steps}
            holding = {
                key: record
                for key, record in records.items()
                if (record.resolved if undone.step not in DECISIONS else _holds_again(steps[key], record))
            }
            ended = [record for key, record in records.items() if key not in holding]
            changed = resolutions_of(holding.values(), resolved=True) + resolutions_of(ended, resolved=False)
            versions = _write(work, changed)
            for key, step in steps.items():
                if step.before is None:
                    del self._store.resolutions[key]
                    continue
                version = versions.get(key, records[key].version) if key in holding else step.before.version
                self._store.resolutions[key] = replace(step.before, version=version)
        return action

    def actions(self, *, instance: FlowKey | None, after: str | None, limit: int) -> Page[ResolutionAction]:
        """A page of actions, or of those on one instance, the newest first."""
        position = decode_cursor(after, int) if after else len(self._actions) + 1
        following = [
            action
            for action in reversed(self._actions)
            if _id(action) < position and (instance is None or instance in self._steps[_id(action)])
        ]
        cursor = encode_cursor(following[limit - 1].id) if len(following) > limit else None
        return Page(items=following[:limit], next_cursor=cursor)

    def resolutions(self, keys: Collection[FlowKey]) -> Mapping[FlowKey, Resolution]:
        """The resolutions of these instances; an instance on which nobody has worked is left out."""
        return {
            key: Resolution(
                state=row.state(record),
                assignee=row.assignee,
                reason=self._actions[row.decided_in - 1].text if row.decided_in else None,
                version=row.version,
                changed_at=row.changed_at,
                changed_by=row.changed_by,
            )
            for key, record in self._store.instances(keys).items()
            if (row := self._store.resolutions.get(key))
        }

    def workload(self, targets: Mapping[str, int | None], *, now: datetime) -> Sequence[Workload]:
        """The unresolved problems by flow, age and assignee."""
        instances: Counter[tuple[str, int, str | None]] = Counter()
        overdue: Counter[tuple[str, int, str | None]] = Counter()
        unresolved = FlowFilter(flow=tuple(targets), status=PROBLEMS, resolution=("unresolved", "reopened"))
        for record in self._all(unresolved) if targets else []:
            row = self._store.resolutions.get(record.identity)
            seconds = (now - record.opened_at).total_seconds()
            group = (record.flow, max(age for age in AGES if age <= max(seconds, 0)), row.assignee if row else None)
            instances[group] += 1
            target = targets[record.flow]
            overdue[group] += target is not None and seconds > target
        return [
            Workload(
                flow=flow,
                older_than_seconds=age,
                assignee=assignee,
                instances=number,
                overdue=overdue[flow, age, assignee],
            )
            for (flow, age, assignee), number in sorted(
                instances.items(), key=lambda item: (*item[0][:2], item[0][2] or "")
            )
        ]

    def _found(self, where: FlowFilter) -> list[FlowRecord]:
        found = self._all(where)
        if not found:
            raise Rejected("matches no flow instance", field="filter", status=422)
        if len(found) > MAX_INSTANCES:
            raise Rejected(f"matches more than {MAX_INSTANCES} flow instances: narrow it", field="filter", status=422)
        return found

    def _all(self, where: FlowFilter) -> list[FlowRecord]:
        return list(self._store.flows(where, after=None, limit=10 * MAX_INSTANCES).items)

    def _named(self, keys: Collection[FlowKey]) -> list[FlowRecord]:
        records = self._store.instances(set(keys))
        if missing := set(keys) - records.keys():
            raise missing_instance(min(missing))
        return list(records.values())

    def _add(self, action: ResolutionAction, work: MemoryUnitOfWork) -> ResolutionAction:
        """Store an action and its entry in the audit log, and return it with its id."""
        action = replace(action, id=len(self._actions) + 1)
        self._actions.append(action)
        work.audit.add(audit_entry(action))
        return action

    def _step(self, record: FlowRecord) -> _Step:
        return _Step(self._store.resolutions.get(record.identity), record if record.resolved else None)

    def _resolved(
        self, key: FlowKey, version: int, request: ResolutionRequest, action: ResolutionAction
    ) -> StoredResolution:
        """The resolution of an instance after an action."""
        row = self._store.resolutions.get(key) or StoredResolution(
            action=_id(action), changed_at=action.at, changed_by=action.actor
        )
        if request.step in DECISIONS:
            decision = DECISIONS[request.step]
            row = replace(row, decision=decision, decided_in=action.id, version=version if decision else None)
        if request.step == "assign":
            row = replace(row, assignee=request.assignee)
        return replace(row, action=_id(action), changed_at=action.at, changed_by=action.actor)


def _id(action: ResolutionAction) -> int:
    return action.id or 0


def _holds_again(step: _Step, record: FlowRecord) -> bool:
    """Whether the decision before an action held, and nothing has come in since."""
    if step.before is None or step.before.decision is None or step.holding is None:
        return False
    return is_same_record(without_waiting(step.holding), without_waiting(record))


def _write(work: MemoryUnitOfWork, transitions: Sequence[tuple[FlowRecord, FlowRecord]]) -> dict[FlowKey, int]:
    """Write instances that a person resolves or reopens, with a frame by which incidents count them; their versions."""
    after = [after for _, after in transitions]
    work.flows.write_all(after)
    if counts := differences(transitions):
        work.stream.publish(Frame(counts=[], events=[]), [], counts)
    return {record.identity: record.version for record in after}
