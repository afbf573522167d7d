"""Resolutions: what people decide about flow instances, beside the verdicts, which follow from the evidence alone."""

from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from helios.errors import Rejected
from helios.model.audit import AuditEntry
from helios.model.events import MAX_ID_CHARS
from helios.model.flows import Assignee, FlowStatus, IssueKind, ResolutionState

Decision = Literal["accepted", "written_off"]

Step = Literal["assign", "note", "accept", "write_off", "reopen"]
STEPS: tuple[Step, ...] = get_args(Step)

DECISIONS: dict[Step, Decision | None] = {"accept": "accepted", "write_off": "written_off", "reopen": None}
"""What each deciding step sets."""

NEED_TEXT: frozenset[Step] = frozenset({"note", "accept", "write_off"})
"""The steps that need a text: the note, or the reason of the decision."""

MAX_INSTANCES = 10_000
"""The most instances of one action."""

MAX_TEXT_CHARS = 2000

FlowName = Annotated[str, Meta(min_length=1, max_length=40)]
InstanceKey = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS, pattern=r"^[^\x00]*$")]
Time = Annotated[datetime, Meta(tz=True)]


class InstanceName(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """The identity of a flow instance."""

    flow: FlowName
    key: InstanceKey


class ResolutionFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which flow instances; None and empty mean any. ``since`` and ``until`` limit ``opened_at``.

    Attributes:
        flow: the instance belongs to this flow.
        status: its verdict is one of these.
        issue: it has an issue of one of these kinds.
        key: its key begins with this text.
        resolution: its resolution has one of these states.
        assignee: the person to whom it is assigned.
    """

    flow: FlowName | None = None
    status: tuple[FlowStatus, ...] = ()
    issue: tuple[IssueKind, ...] = ()
    key: InstanceKey | None = None
    resolution: tuple[ResolutionState, ...] = ()
    assignee: Assignee | None = None
    since: Time | None = None
    until: Time | None = None


class ResolutionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step for one or many flow instances: those that are listed, or those that a filter finds.

    Attributes:
        step: what to do.
        instances: the flow instances; leave it out to use ``filter``.
        filter: which flow instances; a step for all instances needs at least one condition.
        text: the note, or the reason of a decision.
        assignee: for ``assign``: the person; None removes the assignment.
        dry_run: only count the instances.
    """

    step: Step
    instances: Annotated[tuple[InstanceName, ...], Meta(min_length=1, max_length=MAX_INSTANCES)] | None = None
    filter: ResolutionFilter | None = None
    text: Text | None = None
    assignee: Assignee | None = None
    dry_run: bool = False

    def check(self) -> None:
        """Return if the parts fit together.

        Raises:
            Rejected: they do not; the error names the field.
        """
        if (self.instances is None) == (self.filter is None):
            raise Rejected("is needed, or instances, and not both", field="filter", status=422)
        if self.filter == ResolutionFilter():
            raise Rejected("has no condition: name at least one, such as status", field="filter", status=422)
        if self.step in NEED_TEXT and not (self.text or "").strip():
            raise Rejected(f"is missing: {self.step} needs a text", field="text", status=422)
        if self.assignee and self.step != "assign":
            raise Rejected("applies to the step assign only", field="assignee", status=422)


class ResolutionAction(msgspec.Struct, frozen=True, kw_only=True):
    """One step that an actor took, for one or many flow instances, or the undoing of one.

    Attributes:
        id: the id of the action; None: a dry run, which changed nothing.
        step: what was done; ``undo``: the state before another action was restored.
        instances: the number of flow instances that it changed, or would change.
        skipped: the number of instances that an undo left alone, because a later action has changed them.
        undoes: the id of the action that it undoes.
        undone_by: the id of the action that undid it.
    """

    id: int | None
    at: datetime
    actor: str
    step: Step | Literal["undo"]
    text: str | None = None
    assignee: str | None = None
    instances: int
    skipped: int = 0
    undoes: int | None = None
    undone_by: int | None = None


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """The problems of a flow that nobody has resolved, of one age and one assignee.

    Attributes:
        flow: the name of the flow.
        older_than_seconds: the lower end of the age, since the first event of the instance.
        assignee: the person who works on them; None: nobody.
        instances: the number of instances.
        overdue: how many of these are older than the flow's target.
    """

    flow: str
    older_than_seconds: int
    assignee: str | None
    instances: int
    overdue: int


AGES: tuple[int, ...] = (0, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
"""The lower ends of the ages in ``Workload``, in seconds."""


def missing_instance(instance: tuple[str, str]) -> Rejected:
    """The error for an instance, as (flow, key), that a request names and that the caller can't see."""
    flow, key = instance
    return Rejected(f"has no flow instance {flow}/{key}", field="instances", status=422)


def audit_entry(action: ResolutionAction) -> AuditEntry:
    """The entry of the audit log for an action. It quotes no text and no key, which may have to be erased one day."""
    detail = f"{action.step}, {action.instances} flow instances"
    if action.undoes is not None:
        detail = f"undo of resolution {action.undoes}, {action.instances} flow instances"
    return AuditEntry(
        at=action.at,
        actor=action.actor,
        action="flow_instances_resolved",
        subject=f"resolution {action.id}",
        detail=detail,
    )
