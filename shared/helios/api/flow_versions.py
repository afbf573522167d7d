"""The versions of flows: their rules, drafts, previews and approvals."""

import threading
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from helios.api.access import Access, Caller
from helios.api.parameters import After, Limit, Text
from helios.api.receive import read_json
from helios.api.replies import problem, reply, request_body, responses
from helios.model.flow_versions import FLOW_NAME_CHARS, NewFlowVersion
from helios.model.tokens import grants
from helios.ports.flow_versions import FlowVersions
from helios.services.flow_versions import PREVIEW_SECONDS, FlowEditor

TOML: Final = "application/toml"

FlowName = Annotated[Text, Path(max_length=FLOW_NAME_CHARS)]
Number = Annotated[int, Path(ge=1, lt=2**31)]

_new_version = msgspec.json.Decoder(NewFlowVersion)

_TEXT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The TOML as its author wrote it", "content": {TOML: {"schema": {"type": "string"}}}}
}


def router(editor: FlowEditor, versions: FlowVersions, access: Access) -> APIRouter:
    """The routes that read: rules name the fields of all senders, so they need a token without limits."""
    routes = APIRouter(prefix="/api/v1/flow-versions", tags=["flows"], dependencies=[Depends(access.require("read"))])

    @routes.get("", responses=responses(200, "FlowRulesList", 401, 403, 429, 503))
    def list_flow_rules() -> Response:
        """List the flows: where the rules in force are, whether people may edit them here, and the draft if any."""
        return reply(editor.flows())

    @routes.get("/{flow}", responses=responses(200, "FlowVersionPage", 400, 401, 403, 422, 429, 503))
    def list_flow_versions(flow: FlowName, after: After = None, limit: Limit = 50) -> Response:
        """List the versions of a flow, the newest first."""
        return reply(versions.versions(flow, after=after, limit=limit))

    @routes.get("/{flow}/toml", responses=_TEXT | _errors(401, 403, 404, 409, 422, 429, 503))
    def export_flow_rules(flow: FlowName) -> Response:
        """Export the rules in force, byte for byte as their author wrote them: a file for HELIOS_FLOWS_FILE."""
        text = editor.text(flow, None)
        return _file(text, f"{flow}.toml") if text is not None else problem(404, f"No rules of {flow!r} are in force.")

    @routes.get("/{flow}/{version}", responses=responses(200, "FlowVersion", 401, 403, 404, 422, 429, 503))
    def show_flow_version(flow: FlowName, version: Number) -> Response:
        """Show a version, who changed it, and how far its recompute is."""
        found = versions.version(flow, version)
        return reply(found) if found else _unknown(flow, version)

    @routes.get("/{flow}/{version}/toml", responses=_TEXT | _errors(401, 403, 404, 422, 429, 503))
    def export_flow_version(flow: FlowName, version: Number) -> Response:
        """Export a version, byte for byte as its author wrote it."""
        text = editor.text(flow, version)
        return _file(text, f"{flow}-{version}.toml") if text is not None else _unknown(flow, version)

    return routes


def changing_router(editor: FlowEditor, access: Access, *, max_body_bytes: int) -> APIRouter:
    """The routes that change: they need the scope ``rules``, and a token without limits."""
    routes = APIRouter(prefix="/api/v1/flow-versions", tags=["flows"])
    may_edit = Depends(access.require("rules"))
    previewing = threading.Lock()

    @routes.post(
        "",
        status_code=201,
        responses=responses(201, "FlowVersion", 401, 403, 408, 409, 413, 422, 429, 503),
        openapi_extra=request_body("NewFlowVersion", required=True),
    )
    async def save_flow_version(request: Request, caller: Annotated[Caller, may_edit]) -> Response:
        """Save a draft of the flow that the text declares. It replaces an earlier draft, and is not in force.

        `based_on` is the latest version that the author has seen: if another one was saved meanwhile, the answer is a
        409 that names it. A text whose `[flow.recovery]` starts more recoveries than the rules in force needs the scope
        `replay` as well.
        """
        asked = await read_json(request, _new_version, max_body_bytes)
        saved = await run_in_threadpool(
            editor.save, asked, actor=caller.name, now=datetime.now(UTC), may_recover=_may_recover(caller)
        )
        return reply(saved, status=201)

    @routes.post(
        "/{flow}/{version}/preview", responses=responses(200, "FlowPreview", 401, 403, 404, 409, 422, 429, 503)
    )
    def preview_flow_version(
        flow: FlowName,
        version: Number,
        caller: Annotated[Caller, may_edit],
        days: Annotated[int, Query(ge=1, le=31, description="Length of the period, up to now")] = 30,
    ) -> Response:
        """Show what a version would change in the instances of the last days. It changes no instance.

        It compares instances for 3.5 seconds, and says how many. To count them takes longer in a large or busy
        database.
        """
        if not previewing.acquire(blocking=False):
            wait = {"Retry-After": f"{PREVIEW_SECONDS:.0f}"}
            return problem(429, "Another preview is in progress. Wait until it has ended.", headers=wait)
        try:
            result = editor.preview(flow, version, days=days, actor=caller.name, now=datetime.now(UTC))
        finally:
            previewing.release()
        return reply(result) if result else _unknown(flow, version)

    @routes.post(
        "/{flow}/{version}/approve", responses=responses(200, "FlowVersion", 401, 403, 404, 409, 422, 429, 503)
    )
    def approve_flow_version(flow: FlowName, version: Number, caller: Annotated[Caller, may_edit]) -> Response:
        """Put a previewed draft in force, and start to evaluate the stored instances by it.

        When the answer arrives, no process stores a verdict by the earlier rules any more. The engine of Flink takes
        the version up a few seconds later, and the evaluation of the stored instances begins then. A version whose
        `[flow.recovery]` starts more recoveries than the rules in force needs the scope `replay` as well.
        """
        approved = editor.approve(
            flow, version, actor=caller.name, now=datetime.now(UTC), may_recover=_may_recover(caller)
        )
        return reply(approved) if approved else _unknown(flow, version)

    @routes.post(
        "/{flow}/{version}/withdraw", responses=responses(200, "FlowVersion", 401, 403, 404, 409, 422, 429, 503)
    )
    def withdraw_flow_version(flow: FlowName, version: Number, caller: Annotated[Caller, may_edit]) -> Response:
        """End a flow that only its versions declare, by withdrawing the version in force.

        No event is evaluated by it any more. Its instances stay as they are, and are not shown, until retention removes
        them or a later version is approved.
        """
        withdrawn = editor.withdraw(flow, version, actor=caller.name, now=datetime.now(UTC))
        return reply(withdrawn) if withdrawn else _unknown(flow, version)

    return routes


def _may_recover(caller: Caller) -> bool:
    return grants(caller.scopes, "replay")


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    described = responses(200, "Problem", *statuses)
    del described[200]
    return described


def _file(text: str, name: str) -> Response:
    return Response(text.encode(), media_type=TOML, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _unknown(flow: str, version: int) -> Response:
    return problem(404, f"The flow {flow!r} has no version {version}.")
