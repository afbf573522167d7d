"""What people do about flow instances: checks a request, and takes the step for the declared flows."""

from collections.abc import Collection
from datetime import datetime

from helios.errors import Rejected
from helios.model.flows import FlowFilter
from helios.model.resolutions import ResolutionAction, ResolutionFilter, ResolutionRequest, missing_instance
from helios.ports.resolutions import Resolutions


def resolve(
    request: ResolutionRequest, *, resolutions: Resolutions, flows: Collection[str], actor: str, now: datetime
) -> ResolutionAction:
    """Take a step for the flow instances of a request, or count them.

    Args:
        request: which step, and for which instances.
        resolutions: where the steps are stored.
        flows: the names of the flows that the actor may see.
        actor: the person or token that takes the step.
        now: the time of the step.

    Raises:
        Rejected: the parts of the request do not fit together, no instance matches, or too many do.
        Retryable: the store can't be reached.
    """
    request.check()
    if request.filter is None:
        named = [(instance.flow, instance.key) for instance in request.instances or ()]
        if unknown := sorted(instance for instance in named if instance[0] not in flows):
            raise missing_instance(unknown[0])
        return resolutions.apply(request, named, actor=actor, now=now)
    return resolutions.apply(request, _flow_filter(request.filter, flows), actor=actor, now=now)


def _flow_filter(where: ResolutionFilter, flows: Collection[str]) -> FlowFilter:
    """The filter of the store. Instances of other flows are left alone."""
    if not flows:  # an empty filter of the store would mean every flow
        raise Rejected("matches no flow instance", field="filter", status=422)
    if where.flow is not None and where.flow not in flows:
        reason = f"{where.flow!r} is no flow that you can see. These are {', '.join(sorted(flows))}."
        raise Rejected(reason, field="filter.flow", status=422)
    return FlowFilter(
        flow=tuple(sorted(flows)) if where.flow is None else (where.flow,),
        status=where.status,
        issue=where.issue,
        key=where.key,
        resolution=where.resolution,
        assignee=where.assignee,
        since=where.since,
        until=where.until,
    )
