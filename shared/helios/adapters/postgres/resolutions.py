"""Resolutions of flow instances: the SQL, and the conversion of the rows."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from operator import attrgetter
from typing import Any, LiteralString

import psycopg
from msgspec.structs import replace
from psycopg.rows import TupleRow

from helios.adapters.postgres.audit import ADD_AUDIT_ENTRY, audit_columns
from helios.adapters.postgres.connection import translate_errors
from helios.adapters.postgres.flows import (
    FLOW_COLUMNS_OF_INSTANCES,
    REOPENED,
    WRITE_FLOWS,
    columns,
    find_flows,
    flow_conditions,
    flow_from_row,
)
from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Conditions, Query, conjunction
from helios.adapters.postgres.stream import APPEND_FRAME, frame_parameters
from helios.errors import Rejected
from helios.model.flows import FlowFilter, Resolution
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
from helios.reconciliation.fold import encode_record
from helios.reconciliation.record import FlowKey, FlowRecord, differences, resolutions_of, without_waiting

# People take few steps: one at a time, so that each knows the state before it.
LOCK: LiteralString = "SELECT pg_advisory_xact_lock(4869532078)"

_INPUT: LiteralString = """
json_to_recordset(%(instances)s::json) AS input (flow text, key text, version integer, holds boolean, content text)
"""

FIND: LiteralString = "SELECT flow, key, version FROM flow_instances"

FIND_NAMED: LiteralString = """
SELECT flow, key, flow_instances.version
FROM json_to_recordset(%s::json) AS input (flow text, key text) JOIN flow_instances USING (flow, key)
ORDER BY flow_instances.flow, flow_instances.key
"""

# A decision changes the instances. It locks them in the order in which batches do.
LOCK_INSTANCES: LiteralString = "FOR UPDATE OF flow_instances"

ADD_ACTION = """
INSERT INTO resolution_actions (at, actor, step, text, assignee, instances, undoes)
VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
"""

# ``holds``: whether the decision held. ``content``: the digest of the instance, by which an undo knows whether the
# decision would still hold.
ADD_STEPS = f"""
INSERT INTO resolution_steps (action, flow, key, before)
SELECT %(action)s, input.flow, input.key, CASE WHEN resolutions.flow IS NOT NULL THEN
    (to_jsonb(resolutions) || jsonb_build_object('holds', input.holds, 'content', input.content))::json
END
FROM {_INPUT} LEFT JOIN resolutions ON resolutions.flow = input.flow AND resolutions.key = input.key
"""  # noqa: S608 - only a constant is filled in

RESOLVE = f"""
INSERT INTO resolutions AS existing
    (flow, key, decision, decided_in, version, assignee, action, changed_at, changed_by)
SELECT flow, key, %(decision)s, CASE WHEN %(decides)s THEN %(action)s::bigint END,
       CASE WHEN %(decision)s::text IS NOT NULL THEN version END, %(assignee)s,
       %(action)s, %(at)s, %(actor)s
FROM {_INPUT}
ON CONFLICT (flow, key) DO UPDATE SET
    decision = CASE WHEN %(decides)s THEN excluded.decision ELSE existing.decision END,
    decided_in = CASE WHEN %(decides)s THEN excluded.decided_in ELSE existing.decided_in END,
    version = CASE WHEN %(decides)s THEN excluded.version ELSE existing.version END,
    assignee = CASE WHEN %(assigns)s THEN excluded.assignee ELSE existing.assignee END,
    action = excluded.action, changed_at = excluded.changed_at, changed_by = excluded.changed_by
"""  # noqa: S608 - the same

_UNDOABLE: LiteralString = """
step.action = %(undone)s AND resolutions.flow = step.flow AND resolutions.key = step.key
    AND resolutions.action = step.action
"""

SELECT_UNDOABLE = f"""
SELECT step.before, {FLOW_COLUMNS_OF_INSTANCES}
FROM resolution_steps AS step, resolutions, flow_instances
WHERE {_UNDOABLE} AND flow_instances.flow = step.flow AND flow_instances.key = step.key
ORDER BY flow_instances.flow, flow_instances.key FOR UPDATE OF flow_instances
"""  # noqa: S608 - the same

ADD_UNDO_STEPS = f"""
INSERT INTO resolution_steps (action, flow, key, before)
SELECT %(action)s, resolutions.flow, resolutions.key, row_to_json(resolutions)
FROM resolutions, resolution_steps AS step WHERE {_UNDOABLE}
"""  # noqa: S608 - the same

REMOVE_NEW = f"""
DELETE FROM resolutions USING resolution_steps AS step WHERE {_UNDOABLE} AND step.before IS NULL
"""  # noqa: S608 - the same

RESTORE = f"""
UPDATE resolutions SET (decision, decided_in, version, assignee, action, changed_at, changed_by) = (
    SELECT decision, decided_in, version, assignee, action, changed_at, changed_by
    FROM json_populate_record(NULL::resolutions, step.before)
)
FROM resolution_steps AS step WHERE {_UNDOABLE}
"""  # noqa: S608 - the same

# The decisions that hold, or hold again, do so for the present version of their instances.
RENEW = f"""
UPDATE resolutions SET version = input.version
FROM {_INPUT} WHERE resolutions.flow = input.flow AND resolutions.key = input.key
"""  # noqa: S608 - the same

COUNT_UNDONE = "UPDATE resolution_actions SET instances = %s, skipped = %s WHERE id = %s"

MARK_UNDONE = "UPDATE resolution_actions SET undone_by = %s WHERE id = %s"

_ACTION_COLUMNS: LiteralString = "id, at, actor, step, text, assignee, instances, skipped, undoes, undone_by"

SELECT_RESOLUTIONS = f"""
SELECT flow, key, decision, text, resolutions.version, resolutions.assignee, changed_at, changed_by,
       {REOPENED}
FROM json_to_recordset(%s::json) AS input (flow text, key text)
JOIN resolutions USING (flow, key) JOIN flow_instances USING (flow, key)
LEFT JOIN resolution_actions ON resolution_actions.id = decided_in
"""  # noqa: S608 - the same

WORKLOAD = f"""
SELECT flow_instances.flow, ages.age, assignee, count(*)::integer,
       count(*) FILTER (WHERE opened_at < %(now)s - make_interval(secs => target))::integer
FROM unnest(%(flows)s::text[], %(targets)s::integer[]) AS flows (name, target)
JOIN flow_instances ON flow_instances.flow = flows.name
LEFT JOIN resolutions ON resolutions.flow = flow_instances.flow AND resolutions.key = flow_instances.key
CROSS JOIN LATERAL (
    SELECT max(age) AS age FROM unnest(%(ages)s::integer[]) AS lower (age)
    WHERE opened_at <= %(now)s - make_interval(secs => age) OR age = 0
) AS ages
WHERE status IN ('mismatched', 'incomplete') AND (decision IS NULL OR {REOPENED})
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 NULLS FIRST
"""  # noqa: S608 - the same


class PostgresResolutions(Query):
    """Implements ``Resolutions`` on a pool of connections."""

    def apply(
        self, request: ResolutionRequest, where: FlowFilter | Collection[FlowKey], *, actor: str, now: datetime
    ) -> ResolutionAction:
        """Take a step for all of these instances, in one transaction."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            connection.execute(LOCK)
            decides = request.step in DECISIONS and not request.dry_run
            lock: LiteralString = LOCK_INSTANCES if decides else ""
            rows = _found(connection, where, lock) if isinstance(where, FlowFilter) else _named(connection, where, lock)
            instances = _decided(connection, rows, request) if decides else _instances(rows)
            action = ResolutionAction(
                id=None,
                at=now,
                actor=actor,
                step=request.step,
                text=request.text,
                assignee=request.assignee,
                instances=len(instances),
            )
            if not request.dry_run:
                action = _with_id(connection, action)
                parameters = {"action": action.id, "instances": to_json(instances), "at": now, "actor": actor}
                connection.execute(ADD_STEPS, parameters)
                connection.execute(RESOLVE, parameters | _changes(request))
                connection.execute(ADD_AUDIT_ENTRY, audit_columns(audit_entry(action)))
        return action

    def undo(self, number: int, *, actor: str, now: datetime) -> ResolutionAction | None:
        """Restore what an action has changed, where no later action has changed it again."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            connection.execute(LOCK)
            rows = connection.execute(_select("WHERE id = %s"), [number]).fetchall()
            if not rows:
                return None
            undone = _action(rows[0])
            _check_undoable(undone)
            action = _with_id(
                connection, ResolutionAction(id=None, at=now, actor=actor, step="undo", instances=0, undoes=number)
            )
            parameters = {"action": action.id, "undone": number}
            holding = _restored(connection, undone, parameters)
            changed = connection.execute(ADD_UNDO_STEPS, parameters).rowcount
            connection.execute(REMOVE_NEW, parameters)
            connection.execute(RESTORE, parameters)
            connection.execute(RENEW, {"instances": to_json(holding)})
            action = replace(action, instances=changed, skipped=undone.instances - changed)
            connection.execute(COUNT_UNDONE, [action.instances, action.skipped, action.id])
            connection.execute(MARK_UNDONE, [action.id, number])
            connection.execute(ADD_AUDIT_ENTRY, audit_columns(audit_entry(action)))
        return action

    def actions(self, *, instance: FlowKey | None, after: str | None, limit: int) -> Page[ResolutionAction]:
        """A page of actions, or of those on one instance, the newest first."""
        conditions: list[Conditions] = []
        if instance:
            of_instance: LiteralString = "id IN (SELECT action FROM resolution_steps WHERE flow = %s AND key = %s)"
            conditions.append((of_instance, list(instance)))
        if after:
            conditions.append(("id < %s", [decode_cursor(after, int)]))
        rows = self._page(_select(""), conditions, "ORDER BY id DESC", limit)
        actions = [_action(row) for row in rows[:limit]]
        return Page(items=actions, next_cursor=encode_cursor(actions[-1].id) if len(rows) > limit else None)

    def resolutions(self, keys: Collection[FlowKey]) -> Mapping[FlowKey, Resolution]:
        """The resolutions of these instances; an instance on which nobody has worked is left out."""
        return {(row[0], row[1]): _resolution(row) for row in self._all(SELECT_RESOLUTIONS, [_as_json(keys)])}

    def workload(self, targets: Mapping[str, int | None], *, now: datetime) -> Sequence[Workload]:
        """The unresolved problems by flow, age and assignee."""
        parameters: dict[str, Any] = {
            "flows": list(targets),
            "targets": list(targets.values()),
            "ages": list(AGES),
            "now": now,
        }
        return [
            Workload(flow=flow, older_than_seconds=age, assignee=assignee, instances=instances, overdue=overdue)
            for flow, age, assignee, instances, overdue in self._all(WORKLOAD, parameters)
        ]


def _found(connection: psycopg.Connection, where: FlowFilter, lock: LiteralString) -> list[TupleRow]:
    """The instances that a filter finds, as (flow, key, version)."""
    sql, values = conjunction(flow_conditions(where))
    query: LiteralString = f"{FIND} {sql} ORDER BY flow, key LIMIT %s {lock}"
    rows = connection.execute(query, [*values, MAX_INSTANCES + 1]).fetchall()
    if not rows:
        raise Rejected("matches no flow instance", field="filter", status=422)
    if len(rows) > MAX_INSTANCES:
        reason = f"matches more than {MAX_INSTANCES} flow instances: narrow it, for example by since and until"
        raise Rejected(reason, field="filter", status=422)
    return rows


def _named(connection: psycopg.Connection, keys: Collection[FlowKey], lock: LiteralString) -> list[TupleRow]:
    """The instances with these keys, as (flow, key, version)."""
    query: LiteralString = f"{FIND_NAMED} {lock}"
    rows = connection.execute(query, [_as_json(set(keys))]).fetchall()
    if missing := set(keys) - {(flow, key) for flow, key, _ in rows}:
        raise missing_instance(min(missing))
    return rows


def _decided(
    connection: psycopg.Connection, rows: Sequence[TupleRow], request: ResolutionRequest
) -> list[dict[str, object]]:
    """Write the decision into the locked instances, and return these with their versions after it."""
    records = find_flows(connection, {(flow, key) for flow, key, _ in rows}).result()
    ordered = [records[flow, key] for flow, key, _ in rows]
    resolved = DECISIONS[request.step] is not None
    _write(connection, resolutions_of(ordered, resolved=resolved))
    return [
        {
            "flow": record.flow,
            "key": record.key,
            "version": record.version + (record.resolved != resolved),
            "holds": record.resolved,
            "content": _content(record),
        }
        for record in ordered
    ]


def _restored(
    connection: psycopg.Connection, undone: ResolutionAction, parameters: Mapping[str, object]
) -> list[dict[str, object]]:
    """Write into the instances whether the decisions before the undone action hold; return those of which they do."""
    rows = connection.execute(SELECT_UNDOABLE, parameters).fetchall()
    records = [(before, flow_from_row(row)) for before, *row in rows]
    holding: list[FlowRecord] = []
    ended: list[FlowRecord] = []
    for before, record in records:
        holds = record.resolved if undone.step not in DECISIONS else _holds_again(before, record)
        (holding if holds else ended).append(record)
    _write(connection, resolutions_of(holding, resolved=True) + resolutions_of(ended, resolved=False))
    return [
        {"flow": record.flow, "key": record.key, "version": record.version + (not record.resolved)}
        for record in holding
    ]


def _holds_again(before: Mapping[str, object] | None, record: FlowRecord) -> bool:
    """Whether the decision in a row of resolutions held, and nothing has come in since."""
    if before is None or before["decision"] is None:
        return False
    return bool(before.get("holds")) and before.get("content") == _content(record)


def _content(record: FlowRecord) -> str:
    """The digest of an instance without its version, its waiting, and what people have decided."""
    content = replace(without_waiting(record), version=0, resolved=False)
    return blake2b(encode_record(content), digest_size=16).hexdigest()


def _write(connection: psycopg.Connection, transitions: Sequence[tuple[FlowRecord, FlowRecord]]) -> None:
    """Write locked instances that a person resolves or reopens, with a frame by which incidents count them."""
    if not transitions:
        return
    after = sorted([after for _, after in transitions], key=attrgetter("identity"))
    connection.execute(WRITE_FLOWS, columns(after))
    if counts := differences(transitions):
        connection.execute(APPEND_FRAME, frame_parameters(Frame(counts=[], events=[]), [], counts, generation=None))


def _instances(rows: Sequence[TupleRow]) -> list[dict[str, object]]:
    return [{"flow": flow, "key": key, "version": version} for flow, key, version in rows]


def _as_json(keys: Collection[FlowKey]) -> str:
    return to_json([{"flow": flow, "key": key} for flow, key in keys])


def _changes(request: ResolutionRequest) -> dict[str, object]:
    """The parameters of RESOLVE that depend on the step."""
    decides = request.step in DECISIONS
    return {
        "decides": decides,
        "decision": DECISIONS.get(request.step),
        "assigns": request.step == "assign",
        "assignee": request.assignee,
    }


def _with_id(connection: psycopg.Connection, action: ResolutionAction) -> ResolutionAction:
    """Store an action, and return it with its id."""
    values = (action.at, action.actor, action.step, action.text, action.assignee, action.instances, action.undoes)
    ((number,),) = connection.execute(ADD_ACTION, values).fetchall()
    return _action((number, *values[:6], 0, action.undoes, None))


def _check_undoable(action: ResolutionAction) -> None:
    if action.step == "undo":
        raise Rejected(f"{action.id} is an undo itself: take the step again instead", field="action", status=409)
    if action.undone_by is not None:
        raise Rejected(f"{action.id} was undone already, by action {action.undone_by}", field="action", status=409)


def _select(where: LiteralString) -> LiteralString:
    return f"SELECT {_ACTION_COLUMNS} FROM resolution_actions {where}"  # noqa: S608 - only constants are filled in


def _action(row: Sequence[Any]) -> ResolutionAction:
    number, at, actor, step, text, assignee, instances, skipped, undoes, undone_by = row
    return ResolutionAction(
        id=number,
        at=at,
        actor=actor,
        step=step,
        text=text,
        assignee=assignee,
        instances=instances,
        skipped=skipped,
        undoes=undoes,
        undone_by=undone_by,
    )


def _resolution(row: Sequence[Any]) -> Resolution:
    _, _, decision, reason, version, assignee, changed_at, changed_by, is_outdated = row
    return Resolution(
        state="reopened" if is_outdated else decision or "unresolved",
        assignee=assignee,
        reason=reason,
        version=version,
        changed_at=changed_at,
        changed_by=changed_by,
    )
