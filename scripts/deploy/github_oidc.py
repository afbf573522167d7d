"""The OIDC token of GitHub's workflows, which names a repository and branch and replaces a cloud's password."""

import argparse
import re
from typing import Final

ISSUER: Final = "https://token.actions.githubusercontent.com"
"""GitHub documentation, "OpenID Connect reference"."""
AUDIENCE_OF_AWS: Final = "sts.amazonaws.com"
AUDIENCE_OF_AZURE: Final = "api://AzureADTokenExchange"
BRANCH: Final = "refs/heads/main"


def subject(repository: str, environment: str | None = None) -> str:
    """The token's subject for an environment of a repository, or for its main branch.

    The repository's settings say which branches may use an environment of GitHub, and who approves it.
    """
    return f"repo:{repository}:environment:{environment}" if environment else f"repo:{repository}:ref:{BRANCH}"


def trusted(repository: str, environment: str | None = None) -> str:
    """Which jobs have this subject, in words."""
    return f"the environment {environment} of {repository}" if environment else f"the main branch of {repository}"


def repository(text: str) -> str:
    """A validated ``OWNER/NAME``, which becomes part of a trust policy."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not OWNER/NAME, such as octo-org/helios")
    return text
