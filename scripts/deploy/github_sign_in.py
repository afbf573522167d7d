"""``python -m scripts.deploy.github_sign_in``: signs a job of GitHub Actions in to the clouds, without a password.

GitHub gives the job a token that names its repository and environment (``scripts.deploy.github_oidc``), and each cloud
exchanges such a token for credentials of the deploying identity. The later steps of the job get them as variables. No
action of another publisher is needed, whose code would see the token.

``HELIOS_AWS_ROLE``, ``HELIOS_GCP_PROVIDER`` with ``HELIOS_GCP_ACCOUNT``, and ``ARM_CLIENT_ID`` with ``ARM_TENANT_ID``
say which identity; a cloud without them is left out.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import requests

from scripts.deploy.github_oidc import AUDIENCE_OF_AWS, AUDIENCE_OF_AZURE

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1

_TOKEN_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"  # noqa: S105 - the name of a variable
_TOKEN_PASSWORD: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - the same
"""GitHub documentation, "OpenID Connect reference": where a job with ``id-token: write`` gets its token."""
_SECONDS: Final = 30
_SESSION_SECONDS: Final = 3600
_SUBJECT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"


class NotSignedIn(Exception):  # noqa: N818 - reads as the fact it is
    """A cloud or GitHub refused; the message names it and the reason."""


def sign_in(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Sign in to every cloud that the environment names, and return the variables for the later steps.

    Args:
        environ: the variables of the job.
        folder: where the file of Google's credentials is written.

    Raises:
        NotSignedIn: the job has no token, or a cloud refused it.
    """
    if _TOKEN_URL not in environ or _TOKEN_PASSWORD not in environ:
        raise NotSignedIn("the job has no token of GitHub: it needs the permission id-token: write")
    variables: dict[str, str] = {}
    if environ.get("HELIOS_AWS_ROLE"):
        variables |= _aws(environ)
    if environ.get("HELIOS_GCP_PROVIDER"):
        variables |= _gcp(environ, folder / "gcp-credentials.json")
    if environ.get("ARM_CLIENT_ID"):
        variables |= _azure(environ)
    return variables


def _aws(environ: Mapping[str, str]) -> dict[str, str]:
    """A session of an hour; the token itself expires within minutes."""
    role = environ["HELIOS_AWS_ROLE"]
    command = ["aws", "sts", "assume-role-with-web-identity", "--output", "json", "--role-arn", role]
    command += ["--role-session-name", "helios-deploy", "--duration-seconds", str(_SESSION_SECONDS)]
    answer = _run(*command, "--web-identity-token", _token(environ, AUDIENCE_OF_AWS))
    given = json.loads(answer)["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


def _gcp(environ: Mapping[str, str], file: Path) -> dict[str, str]:
    """A file with which Google's libraries get a token of GitHub and exchange it, as often as they need."""
    provider, account = environ["HELIOS_GCP_PROVIDER"], environ.get("HELIOS_GCP_ACCOUNT", "")
    audience = f"//iam.googleapis.com/{provider}"
    request = _request(environ, audience)
    credentials = {
        "type": "external_account",
        "audience": audience,
        "subject_token_type": _SUBJECT_TYPE,
        "token_url": "https://sts.googleapis.com/v1/token",
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
        f"{account}:generateAccessToken",
        "credential_source": {
            "url": request.url,
            "headers": dict(request.headers),
            "format": {"type": "json", "subject_token_field_name": "value"},
        },
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(credentials))
    _run("gcloud", "auth", "login", "--quiet", "--cred-file", str(file))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}


def _azure(environ: Mapping[str, str]) -> dict[str, str]:
    """The session of the command line; Terraform gets a token of its own."""
    client, tenant = environ["ARM_CLIENT_ID"], environ.get("ARM_TENANT_ID", "")
    command = ["az", "login", "--service-principal", "--output", "none", "--username", client, "--tenant", tenant]
    _run(*command, "--federated-token", _token(environ, AUDIENCE_OF_AZURE))
    return {"ARM_USE_OIDC": "true"}


def _request(environ: Mapping[str, str], audience: str) -> requests.PreparedRequest:
    """The request for a token; GitHub's URL has parameters already."""
    headers = {"Authorization": f"Bearer {environ[_TOKEN_PASSWORD]}"}
    return requests.Request("GET", environ[_TOKEN_URL], headers=headers, params={"audience": audience}).prepare()


def _token(environ: Mapping[str, str], audience: str) -> str:
    try:
        with requests.Session() as session:
            answer = session.send(_request(environ, audience), timeout=_SECONDS)
        answer.raise_for_status()
        content: Any = answer.json()
        return str(content["value"])
    except (requests.RequestException, KeyError) as error:
        raise NotSignedIn(f"GitHub gave no token for {audience}: {error}") from error


def _run(*command: str) -> str:
    """What a command prints. Its last argument may be a token, so a message names the first words only."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise NotSignedIn(f"{command[0]} is not installed: {error.strerror}") from error
    if done.returncode:
        raise NotSignedIn(f"{' '.join(command[:3])}: {done.stderr.strip()}")
    return done.stdout


def main() -> int:
    """Sign in, hide the secrets from the job's log, and give the variables to the later steps."""
    folder = Path(os.environ.get("RUNNER_TEMP", "."))
    try:
        variables = sign_in(os.environ, folder)
    except NotSignedIn as error:
        sys.stderr.write(f"github_sign_in: {error}\n")
        return EXIT_FAILED
    for name, value in variables.items():
        if "SECRET" in name or "TOKEN" in name:
            sys.stdout.write(f"::add-mask::{value}\n")
    with Path(os.environ["GITHUB_ENV"]).open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in variables.items())
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
