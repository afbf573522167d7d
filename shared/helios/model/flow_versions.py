"""The versions of a flow that people edit, and who changed the rules when."""

from datetime import datetime
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from helios.errors import Rejected
from helios.model.audit import Action, AuditEntry
from helios.model.flows import STATUSES, FlowIssue, FlowStatus

FlowVersionState = Literal["draft", "in_force", "superseded", "replaced", "withdrawn"]
"""``draft``: saved, and not approved. ``in_force``: approved; Helios evaluates the flow by it. ``superseded``: was in
force until a later version was approved. ``replaced``: a draft after which a later draft was saved. ``withdrawn``: was
in force until a person ended the flow."""

FLOW_VERSION_STATES: Final[tuple[FlowVersionState, ...]] = get_args(FlowVersionState)

FlowOwner = Literal["file", "version", "shipped"]
"""Where the rules of a flow are: in the file of HELIOS_FLOWS_FILE, in the version in force, or in Helios itself."""

StatusOrNone = FlowStatus | Literal["none"]
"""A verdict; ``none``: there is no such instance."""

STATUSES_OR_NONE: Final[tuple[StatusOrNone, ...]] = (*STATUSES, "none")

MAX_TEXT_CHARS: Final = 100_000
"""The longest text of a version: a flow of 16 legs and 64 rules has a tenth of it."""

FLOW_NAME_CHARS: Final = 40


class RecomputeProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The evaluation of the stored flow instances by a version that was approved.

    Attributes:
        events: how many stored events were read.
        instances: how many flow instances were changed.
        started_at: when the version was approved, UTC.
        finished_at: when the last event was read, UTC; None: it is in progress.
    """

    events: int
    instances: int
    started_at: datetime
    finished_at: datetime | None = None


class FlowVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a flow.

    Attributes:
        flow: the name of the flow.
        version: its number; the first one of a flow is 1.
        state: whether it is in force.
        text: the TOML that declares the flow, as its author wrote it.
        saved_at: when it was saved, UTC.
        saved_by: the author.
        previewed_at: when it was last previewed, UTC; None: never. A version is approved after a preview only.
        previewed_by: who previewed it.
        approved_at: when it was approved, UTC; None: never.
        approved_by: who approved it.
        withdrawn_at: when it was withdrawn, UTC; None: never.
        withdrawn_by: who withdrew it.
        recompute: how far the stored flow instances are evaluated by it; None: it was never approved.
    """

    flow: str
    version: int
    state: FlowVersionState
    text: str
    saved_at: datetime
    saved_by: str
    previewed_at: datetime | None = None
    previewed_by: str | None = None
    approved_at: datetime | None = None
    approved_by: str | None = None
    withdrawn_at: datetime | None = None
    withdrawn_by: str | None = None
    recompute: RecomputeProgress | None = None


class FlowRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a flow that are in force, and whether people may edit them.

    Attributes:
        flow: the name of the flow.
        owner: where the rules are.
        text: the TOML that declares the flow. Of a file, it is the whole file. None: no rules are in force yet.
        read_only: why nobody can edit the flow here, as a predicate of the flow; None: a new version can be saved.
        in_force: the version in force; None: there is none.
        can_withdraw: whether the flow ends when that version is withdrawn: neither Helios nor a file declares it.
        latest: the number of the latest version, on which the next one is based; None: there is no version.
        draft: the draft that waits for its approval; None: there is none.
    """

    flow: str
    owner: FlowOwner
    text: str | None
    read_only: str | None = None
    in_force: FlowVersion | None = None
    can_withdraw: bool = False
    latest: int | None = None
    draft: FlowVersion | None = None


class PreviewGroup(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a group of recorded instances was compared.

    Attributes:
        instances: how many there are in the period, counted.
        compared: how many of them were evaluated.
    """

    instances: int
    compared: int


class PreviewedChange(msgspec.Struct, frozen=True, kw_only=True):
    """Instances whose verdict would change in the same way.

    Attributes:
        recorded: the verdict now.
        previewed: the verdict by the version.
        compared: how many of the compared instances.
        estimated: how many of all instances of the period, if those that were not compared are like those that were.
    """

    recorded: StatusOrNone
    previewed: StatusOrNone
    compared: int
    estimated: int


class PreviewExample(msgspec.Struct, frozen=True, kw_only=True):
    """An instance whose verdict would change, with the issues that it would have."""

    key: str
    recorded: StatusOrNone
    previewed: StatusOrNone
    issues: list[FlowIssue]


class FlowPreview(msgspec.Struct, frozen=True, kw_only=True):
    """What a version would change in the instances that opened in a period.

    Attributes:
        flow: the name of the flow.
        method: ``sample``: a random sample of the recorded instances was evaluated. ``newest``: the version has other
            legs than the rules in force, so the newest events were read, and all of their instances evaluated.
        since: the beginning of the period, UTC.
        until: its end, UTC.
        covered_since: from when on instances were compared; later than ``since`` if the time ended before all events of
            the period were read.
        problems: the recorded instances that are mismatched or incomplete.
        others: the other instances; of ``newest`` also those that there would be by the version only.
        contradictory: the number of instances that were left out, because the contradicting variants are no events.
        changes: the verdicts that would change; empty if none of the compared instances would.
        examples: some of these instances.
        seconds: how long the preview took.
    """

    flow: str
    method: Literal["sample", "newest"]
    since: datetime
    until: datetime
    covered_since: datetime
    problems: PreviewGroup
    others: PreviewGroup
    contradictory: int = 0
    changes: list[PreviewedChange]
    examples: list[PreviewExample]
    seconds: float


class NewFlowVersion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request to save a draft.

    Attributes:
        text: the TOML that declares one flow, in the format of a file of flows.
        based_on: the latest version that the author has seen; None: the flow has no version.
    """

    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    based_on: Annotated[int, Meta(ge=1, lt=2**31)] | None = None


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The versions in force.

    Attributes:
        generation: how often a version was approved or withdrawn.
        texts: the text of the version in force by the name of its flow.
    """

    generation: int
    texts: dict[str, str]


class Recompute(msgspec.Struct, frozen=True, kw_only=True):
    """A recompute that has not finished.

    Attributes:
        flow: the name of the flow.
        version: the version in force.
        cursor: where the next page of events begins; None: at the newest event.
    """

    flow: str
    version: int
    cursor: str | None


def audit_entry(action: Action, version: FlowVersion, *, actor: str, at: datetime) -> AuditEntry:
    """The entry for what a person did to a version."""
    subject = f"flow {version.flow}"
    return AuditEntry(at=at, actor=actor, action=action, subject=subject, detail=f"version {version.version}")


def check_based_on(latest: FlowVersion | None, based_on: int | None) -> None:
    """Check that the author has seen the latest version.

    Raises:
        Rejected: another version was saved meanwhile, or there is no such version.
    """
    if (latest.version if latest else None) == based_on:
        return
    if latest is None:
        raise Rejected(f"is {based_on}, but the flow has no version: leave it out", field="based_on", status=409)
    raise Rejected(
        f"is {based_on or 'missing'}, but {latest.saved_by} has saved version {latest.version}: compare your text with "
        f"it, and save again with based_on {latest.version}",
        field="based_on",
        status=409,
    )


def check_approvable(version: FlowVersion) -> None:
    """Check that a version can be approved.

    Raises:
        Rejected: it is no draft, or nobody has previewed it.
    """
    reasons: dict[FlowVersionState, str] = {
        "in_force": f"is in force already: {version.approved_by} has approved it",
        "superseded": "was in force before: save its text as a new version",
        "replaced": "was replaced by a later draft: approve that one, or save this text as a new version",
        "withdrawn": "was withdrawn: save its text as a new version",
    }
    reason = reasons.get(version.state)
    if reason is None and version.previewed_at is None:
        reason = "has no preview yet: preview it first"
    if reason:
        raise Rejected(reason, field="version", status=409)


def check_withdrawable(version: FlowVersion) -> None:
    """Check that a version can be withdrawn.

    Raises:
        Rejected: it is not in force.
    """
    if version.state != "in_force":
        raise Rejected(f"is not in force: it is {version.state}", field="version", status=409)
