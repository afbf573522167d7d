"""The filter against requests of web pages, as a middleware of aiohttp."""

from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from local.stack.request_filter import RequestFilter


def refusing(rule: RequestFilter) -> Middleware:
    """A middleware that answers 403 to the requests that the rule refuses; it must be the first one."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = ((name.lower(), value) for name, value in request.headers.items())
        reason = rule.refusal(request.method, headers)
        return await handler(request) if reason is None else web.Response(status=HTTPStatus.FORBIDDEN, text=reason)

    return refuse
