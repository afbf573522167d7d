"""What people do with the rules of a flow: list, save, preview, approve and withdraw them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from helios.errors import Rejected
from helios.model.flow_versions import FlowOwner, FlowPreview, FlowRules, FlowVersion, NewFlowVersion
from helios.ports.flow_versions import FlowVersions
from helios.reconciliation.declaration import Flow
from helios.services.flow_preview import PreviewSources, preview_flow
from helios.services.rules import Rules

PREVIEW_SECONDS: Final = 3.5
"""The time in which a preview reads and evaluates. What it has begun takes up to a second more on a busy machine."""


class FlowEditor:
    """The rules of all flows, as people see and change them."""

    def __init__(self, rules: Rules, versions: FlowVersions, preview_from: PreviewSources) -> None:
        """Take the ports.

        Args:
            rules: the rules in force in this process.
            versions: stores the versions.
            preview_from: the instances and events that previews read.
        """
        self._rules = rules
        self._versions = versions
        self._preview_from = preview_from

    def flows(self) -> list[FlowRules]:
        """The rules of each flow, sorted by name."""
        self._rules.refresh()
        by_flow: dict[str, list[FlowVersion]] = {flow.name: [] for flow in self._rules.declared}
        for version in self._versions.current():
            by_flow.setdefault(version.flow, []).append(version)
        return [self._rules_of(name, by_flow[name]) for name in sorted(by_flow)]

    def save(self, request: NewFlowVersion, *, actor: str, now: datetime, may_recover: bool) -> FlowVersion:
        """Save a draft of the flow that the text declares.

        Args:
            request: the text, and the version that its author has seen.
            actor: the author.
            now: the time of the draft.
            may_recover: whether the author may start recoveries, and so a policy that does.

        Raises:
            TomlError: the text is wrong.
            Rejected: a file owns the flow, a setting does not go with it, another version was saved meanwhile, or the
                draft starts more recoveries than the rules in force, and the author may start none.
        """
        flow = self._rules.read(request.text)
        self._check_recovery(flow, may_recover=may_recover)
        return self._versions.save(flow.name, request.text, based_on=request.based_on, actor=actor, now=now)

    def preview(self, flow: str, number: int, *, days: int, actor: str, now: datetime) -> FlowPreview | None:
        """What a version would change in the instances of the last days; None: there is no such version.

        Raises:
            TomlError: the text is wrong for the sources that are declared now.
            Rejected: a file owns the flow, or a setting does not go with it.
        """
        version = self._versions.version(flow, number)
        if version is None:
            return None
        declared = self._rules.read(version.text)
        self._rules.refresh()
        result = preview_flow(
            declared,
            self._rules.reconciler,
            read_from=self._preview_from,
            since=now - timedelta(days=days),
            now=now,
            seconds=PREVIEW_SECONDS,
        )
        self._versions.mark_previewed(flow, number, actor=actor, now=now)
        return result

    def approve(self, flow: str, number: int, *, actor: str, now: datetime, may_recover: bool) -> FlowVersion | None:
        """Put a version in force, and start its recompute; None: there is no such version.

        The arguments are those of ``save``.

        Raises:
            TomlError: the text is wrong for the sources that are declared now.
            Rejected: the version is no draft, or was not previewed, or as ``save``.
        """
        version = self._versions.version(flow, number)
        if version is None:
            return None
        self._check_recovery(self._rules.read(version.text), may_recover=may_recover)
        approved = self._versions.approve(flow, number, actor=actor, now=now)
        self._rules.refresh()
        return approved

    def withdraw(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """End a flow that only its versions declare; None: there is no such version.

        Raises:
            Rejected: the version is not in force, or Helios or a file declares the flow too.
        """
        if self._versions.version(flow, number) is None:
            return None
        if self._is_declared(flow):
            reason = self._rules.read_only(flow) or (
                "is shipped with Helios, whose text would apply again: save that text as a new version instead"
            )
            raise Rejected(reason, field="flow", status=409)
        withdrawn = self._versions.withdraw(flow, number, actor=actor, now=now)
        self._rules.refresh()
        return withdrawn

    def text(self, flow: str, number: int | None) -> str | None:
        """The text of a version, or of the rules in force; None: there is none.

        Raises:
            Rejected: the rules in force are in a file.
        """
        if number is not None:
            version = self._versions.version(flow, number)
            return version.text if version else None
        if self._rules.owns(flow):
            reason = f"is declared in {self._rules.file}, which HELIOS_FLOWS_FILE names: copy that file"
            raise Rejected(reason, field="flow", status=409)
        return next((each.text for each in self.flows() if each.flow == flow), None)

    def _check_recovery(self, flow: Flow, *, may_recover: bool) -> None:
        """Refuse a policy that starts more recoveries than the one in force, for a person who may start none."""
        if may_recover or flow.recovery is None:
            return
        self._rules.refresh()
        evaluator = self._rules.evaluators.get(flow.name)
        in_force = evaluator.flow.recovery if evaluator else None
        if (
            in_force is None
            or flow.recovery.per_hour > in_force.per_hour
            or flow.recovery.after_seconds < in_force.after_seconds
        ):
            reason = "starts more recoveries than the rules in force: that needs a token with the scope replay as well"
            raise Rejected(reason, field="flow.recovery", status=403)

    def _rules_of(self, name: str, versions: Sequence[FlowVersion]) -> FlowRules:
        in_force = next((version for version in versions if version.state == "in_force"), None)
        is_owned = self._rules.owns(name)
        owner: FlowOwner = "file" if is_owned else "version" if in_force else "shipped"
        is_declared = self._is_declared(name)
        text = self._rules.text if is_owned or (is_declared and in_force is None) else None
        return FlowRules(
            flow=name,
            owner=owner if text or in_force else "version",
            text=text if text is not None else in_force.text if in_force else None,
            read_only=self._rules.read_only(name),
            in_force=None if is_owned else in_force,
            can_withdraw=in_force is not None and not is_declared,
            latest=versions[-1].version if versions else None,
            draft=next((version for version in versions if version.state == "draft"), None),
        )

    def _is_declared(self, name: str) -> bool:
        """Whether Helios or a file declares a flow too, so that it exists without any version."""
        return any(flow.name == name for flow in self._rules.declared)
