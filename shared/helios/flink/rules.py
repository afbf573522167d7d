"""The rules by which a task judges: the declared flows, and the versions in force that the log says."""

from collections.abc import Sequence

import msgspec

from helios.messages import RulesMessage
from helios.model.flow_versions import InForce
from helios.reconciliation.declaration import Flow
from helios.reconciliation.fold import Fold
from helios.services.rules import Rules
from helios.sources.registry import CLOUDS, Sources

_decode = msgspec.json.Decoder(RulesMessage).decode


class TaskRules:
    """The rules of one task. They are those of the API: a version never replaces a flow that the file owns."""

    def __init__(self, declared: Sequence[Flow], sources: Sources = CLOUDS, *, file: str | None = None) -> None:
        """Begin with the declared flows.

        Args:
            declared: the flows of the file, or those that ship with Helios.
            sources: the sources that legs may name.
            file: the file that owns the flows; None: people may edit them.
        """
        self._in_force = InForce(generation=0, texts={})
        self._rules = Rules(declared, self, file=file, sources=sources)

    def in_force(self) -> InForce:
        """The versions in force that were taken last."""
        return self._in_force

    def take(self, message: str) -> bool:
        """Take what a ``RulesMessage`` says; False: it is no later one, and nothing has changed."""
        taken = _decode(message)
        if taken.generation <= self._in_force.generation:
            return False
        self._in_force = InForce(generation=taken.generation, texts=dict(taken.texts))
        self._rules.refresh()
        return True

    @property
    def fold(self) -> Fold:
        """The fold by the rules of now."""
        return self._rules.reconciler.fold

    @property
    def generation(self) -> int:
        """The generation of these rules; 0: no version was ever approved."""
        return self._in_force.generation
