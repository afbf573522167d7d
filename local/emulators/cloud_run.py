"""Cloud Run: Google's functions-framework behind a check that the caller may invoke the function.

``python -m local.emulators.cloud_run --source functions/gcp/main.py --target ingest --port 8088 ...``
"""

import argparse
import logging
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import functions_framework
import jwt
from functions_framework._http import create_server  # the server of Google's own command line

from helios import logs
from helios.processes.ports import HOST
from local.stack import request_filter
from local.stack.request_filter import RequestFilter, WsgiFilter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("helios.local.cloud_run")

ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
_KEYS_SECONDS: Final = 5


class InvokerAuth:
    """Passes on requests with a token of the invoker for this service, and answers all others as Cloud Run does.

    Cloud Run documentation, "Troubleshoot": 403 without a token or for an account that may not invoke, 401 for a token
    that can't be verified.
    """

    def __init__(self, application: "WSGIApplication", *, keys_url: str, audience: str, invoker: str) -> None:
        """Protect an application.

        Args:
            application: the protected application.
            keys_url: the URL of the JSON Web Key Set of the token issuer.
            audience: the required audience of a token: the service's URL.
            invoker: the service account that may invoke.
        """
        self._application = application
        # No cooldown: a restarted emulator signs with a new key, and Pub/Sub gives a message up after five refusals.
        self._keys = jwt.PyJWKClient(keys_url, timeout=_KEYS_SECONDS, cooldown_duration=0)
        self._audience = audience
        self._invoker = invoker

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        refusal = self._refusal(environ.get("HTTP_AUTHORIZATION", ""))
        if refusal is None:
            return self._application(environ, start_response)
        status, reason = refusal
        log.warning("refused", extra={"status": int(status), "reason": reason})
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        if status == HTTPStatus.UNAUTHORIZED:
            headers.append(("WWW-Authenticate", 'Bearer error="invalid_token"'))
        start_response(f"{status.value} {status.phrase}", headers)
        return [reason.encode()]

    def _refusal(self, authorization: str) -> tuple[HTTPStatus, str] | None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return HTTPStatus.FORBIDDEN, "The request was not authenticated."
        try:
            claims = self._claims(token)
        except jwt.PyJWKClientConnectionError as error:  # the token can't be checked now: Pub/Sub retries
            return HTTPStatus.SERVICE_UNAVAILABLE, f"The signing keys are not available: {error}"
        except jwt.PyJWTError as error:
            return HTTPStatus.UNAUTHORIZED, f"The token could not be verified: {error}"
        if claims.get("email") != self._invoker or claims.get("email_verified") is not True:
            return HTTPStatus.FORBIDDEN, "The caller may not invoke this service."
        return None

    def _claims(self, token: str) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            self._keys.get_signing_key_from_jwt(token).key,
            algorithms=["RS256"],
            audience=self._audience,
            issuer=ISSUERS,
            options={"require": ["exp", "iat", "iss", "aud"]},
        )
        return claims


def application(source: str, target: str, authenticate: Callable[["WSGIApplication"], InvokerAuth]) -> Any:
    """The framework's Flask application for a CloudEvent function, behind the check of the invoker."""
    app = functions_framework.create_app(target, source, "cloudevent")  # type: ignore[no-untyped-call]  # no types
    app.wsgi_app = authenticate(app.wsgi_app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser(prog="python -m local.emulators.cloud_run", description=__doc__)
    parser.add_argument("--source", required=True, help="path of the function's main.py")
    parser.add_argument("--target", required=True, help="name of the function in it")
    parser.add_argument(
        "--host", default=HOST, help="the address to listen on (default %(default)s: this machine only)"
    )
    parser.add_argument("--port", type=int, required=True, help="the port to listen on")
    parser.add_argument("--keys-url", required=True, help="URL of the key set that signs Pub/Sub's tokens")
    parser.add_argument("--audience", required=True, help="the required audience of a token: this service's URL")
    parser.add_argument("--invoker", required=True, help="the service account that may invoke the function")
    request_filter.add_option(parser)
    options = parser.parse_args(arguments)
    logs.configure("INFO")

    def authenticate(application: "WSGIApplication") -> InvokerAuth:
        return InvokerAuth(application, keys_url=options.keys_url, audience=options.audience, invoker=options.invoker)

    app = application(options.source, options.target, authenticate)
    app.wsgi_app = WsgiFilter(app.wsgi_app, RequestFilter(hosts=request_filter.hosts(options)))
    server = create_server(app, debug=False)  # type: ignore[no-untyped-call]  # no types
    server.run(options.host, options.port)


if __name__ == "__main__":
    main()
