# ruff: noqa: SLF001 - ministack offers no other way
"""Makes ministack send a replay to the rules that it names, as EventBridge does.

ministack sends the events of a replay to every rule of the bus, and ignores ``Destination.FilterArns`` (Amazon
EventBridge API Reference, "ReplayDestination"). ``run_ministack.py`` loads this file by its path.
"""

from typing import Any


def install(eventbridge: Any) -> None:
    """Replace the function of ministack's module ``eventbridge`` that sends an event to the rules."""
    dispatch = eventbridge._dispatch_event

    def dispatch_event(event: dict[str, Any], view: Any = None) -> None:
        replay = eventbridge._replays.get(event.get("ReplayName", ""))
        arns = replay["Destination"].get("FilterArns") if replay else None
        if not arns:
            dispatch(event, view)
            return
        view = view or eventbridge._pattern_event_view(event)
        for key, rule in list(eventbridge._rules.items()):
            if rule.get("Arn") not in arns or rule.get("State") != "ENABLED" or not rule.get("EventPattern"):
                continue
            if eventbridge._matches_pattern_view(rule["EventPattern"], view, f"rule {key}"):
                for target in eventbridge._targets.get(key, []):
                    eventbridge._invoke_target(target, event, rule, view)

    eventbridge._dispatch_event = dispatch_event
