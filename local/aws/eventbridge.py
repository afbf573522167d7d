# ruff: noqa: SLF001 - ministack offers no other way
"""Makes ministack do two things as EventBridge does. ``run_ministack.py`` loads this file by its path.

- A replay is sent only to the rules that it names: ministack sends its events to every rule of the bus, and ignores
  ``Destination.FilterArns`` (Amazon EventBridge API Reference, "ReplayDestination").
- An event has the ``Time`` of its entry: ministack gives it the time of the call ("PutEventsRequestEntry").
"""

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

MOST_ENTRIES = 10
"""The largest number of entries of one call; ministack itself refuses more."""

_time: ContextVar[int | None] = ContextVar("time", default=None)
"""The time of the entry that is being put, in whole seconds since the epoch: EventBridge delivers whole seconds."""


def install(eventbridge: Any) -> None:
    """Replace the functions of ministack's module ``eventbridge`` that accept events and send them to the rules."""
    eventbridge._dispatch_event = _dispatching(eventbridge, eventbridge._dispatch_event)
    eventbridge._put_events = _putting(eventbridge, eventbridge._put_events)


def _dispatching(eventbridge: Any, dispatch: Callable[..., None]) -> Callable[..., None]:
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

    return dispatch_event


def _putting(eventbridge: Any, put: Callable[..., Any]) -> Callable[..., Any]:
    """``PutEvents`` that takes one entry after the other, each with its time."""
    view_of = eventbridge._pattern_event_view

    def pattern_event_view(event: dict[str, Any]) -> Any:
        if (time := _time.get()) is not None:
            event["Time"] = time  # before a rule or an archive gets the event
        return view_of(event)

    def put_events(data: dict[str, Any], allow_aws_source: bool = False) -> Any:  # noqa: FBT001, FBT002 - as ministack's
        entries = data.get("Entries", [])
        if len(entries) > MOST_ENTRIES or not any(entry.get("Time") for entry in entries):
            return put(data, allow_aws_source)
        answers = []
        for entry in entries:
            time = eventbridge._coerce_timestamp(entry.get("Time"))
            token = _time.set(int(time) if isinstance(time, int | float) else None)
            try:
                answers.append(json.loads(put({"Entries": [entry]}, allow_aws_source)[2]))
            finally:
                _time.reset(token)
        failed = sum(answer["FailedEntryCount"] for answer in answers)
        results = [result for answer in answers for result in answer["Entries"]]
        return eventbridge.json_response({"FailedEntryCount": failed, "Entries": results})

    eventbridge._pattern_event_view = pattern_event_view
    return put_events
