"""The flows in force: those of the file, and the versions that people have approved.

A process reads the versions in force when the store refuses a batch by earlier rules, and at an interval where it shows
them. No batch asks for them: the statement that stores its frame compares the generation, see ``StreamWriter.publish``.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from helios.errors import ConfigurationError, Rejected, RulesChanged
from helios.model.flow_versions import InForce
from helios.ports.flow_versions import RulesReader
from helios.reconciliation import declaration
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evaluate import FlowEvaluator
from helios.services.reconciler import Reconciler
from helios.sources.registry import CLOUDS, Sources
from helios.toml_file import TomlError

log = logging.getLogger("helios.rules")

ATTEMPTS: Final = 5
"""How often work is repeated by new rules. Each repetition needs another approval within the time of a batch."""

T = TypeVar("T")

Check = Callable[[Flow], None]
"""Raises ConfigurationError if a setting of this process does not go with a flow."""


class Rules:
    """The flows by which this process evaluates. Any thread may use it.

    Attributes:
        file: the file that owns its flows; None: HELIOS_FLOWS_FILE is not set.
        declared: the flows of the file, or those that ship with Helios.
        text: the text that declares them.
        sources: the sources that legs may name.
        reconciler: evaluates by the rules that this process read last.
        unreadable: the flows whose version in force does not apply in this process, because the file owns the flow or a
            setting does not go with the text.
    """

    def __init__(
        self,
        declared: Sequence[Flow],
        versions: RulesReader | None,
        *,
        text: str = "",
        file: str | None = None,
        sources: Sources = CLOUDS,
        check: Check = lambda _: None,
    ) -> None:
        """Take the rules that need no store; ``refresh`` reads the others.

        Args:
            declared: the flows of the file, or those that ship with Helios.
            versions: reads the versions in force; None: the declared flows never change.
            text: the text that declares them.
            file: the file that owns the declared flows.
            sources: the sources that legs may name.
            check: refuses flows that a setting of this process does not go with.
        """
        self.file = file
        self.declared = tuple(declared)
        self.text = text
        self.sources = sources
        self._versions = versions
        self._check = check
        self._lock = threading.Lock()
        self.reconciler = Reconciler(declared, sources, generation=0 if versions else None)
        self.unreadable: frozenset[str] = frozenset()

    def apply(self, work: Callable[[Reconciler], T]) -> T:
        """The result of work by the rules in force; by new ones again if they change meanwhile.

        Args:
            work: evaluates by the rules of a reconciler; raises RulesChanged, and has then written nothing.

        Raises:
            Retryable: the store can't be reached.
        """
        for _ in range(ATTEMPTS):
            try:
                return work(self.reconciler)
            except RulesChanged:
                self.refresh()
        return work(self.reconciler)

    def refresh(self) -> None:
        """Read the versions in force.

        Raises:
            Retryable: the store can't be reached.
        """
        if self._versions is None:
            return
        with self._lock:
            in_force = self._versions.in_force()
            if in_force.generation != self.reconciler.generation:
                self.reconciler = Reconciler(self._flows(in_force), self.sources, generation=in_force.generation)
                log.info("rules changed", extra={"generation": in_force.generation, "flows": sorted(in_force.texts)})

    def owns(self, flow: str) -> bool:
        """Whether the file declares this flow."""
        return self.file is not None and any(declared.name == flow for declared in self.declared)

    def read_only(self, flow: str) -> str | None:
        """Why a flow can't be edited here, as a predicate of the flow; None: it can."""
        if not self.owns(flow):
            return None
        return (
            f"is declared in {self.file}, which HELIOS_FLOWS_FILE names, and is read-only here: edit that file, or "
            "remove the flow from it"
        )

    @property
    def evaluators(self) -> Mapping[str, FlowEvaluator]:
        """The evaluators by the name of their flow; always those of the rules that this process read last."""
        return _Evaluators(self)

    def read(self, text: str) -> Flow:
        """The flow that the text of a version declares.

        Raises:
            TomlError: the text is wrong.
            Rejected: the file owns the flow, or a setting of this process does not go with it.
        """
        flow = declaration.parse_version(text, sources=self.sources)
        if reason := self.read_only(flow.name):
            raise Rejected(reason, field="flow", status=409)
        try:
            self._check(flow)
        except ConfigurationError as error:
            raise Rejected(str(error), field="text", status=422) from error
        return flow

    def _flows(self, in_force: InForce) -> list[Flow]:
        """The declared flows, and the versions in force in their place or after them."""
        flows = {flow.name: flow for flow in self.declared}
        unreadable = set()
        for name, text in in_force.texts.items():
            try:
                flows[name] = self.read(text)
            except (TomlError, Rejected) as error:
                # Another process, with other settings, could read it. Ingest must go on: without this flow, or by its
                # earlier rules.
                log.error("a flow version does not apply here", extra={"flow": name, "error": str(error)})
                unreadable.add(name)
                if before := self.reconciler.evaluators.get(name):
                    flows[name] = before.flow
        self.unreadable = frozenset(unreadable)
        return list(flows.values())


class _Evaluators(Mapping[str, FlowEvaluator]):
    """The evaluators of the rules that a process read last, for a reader that lives longer than the rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def __getitem__(self, name: str) -> FlowEvaluator:
        return self._rules.reconciler.evaluators[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules.reconciler.evaluators)

    def __len__(self) -> int:
        return len(self._rules.reconciler.evaluators)
