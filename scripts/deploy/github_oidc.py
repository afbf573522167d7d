"""The OIDC token of GitHub's workflows, which names a repository and branch and replaces a cloud's password."""

import argparse
import re
from typing import Final

ISSUER: Final = "https://token.actions.githubusercontent.com"
"""GitHub documentation, "OpenID Connect reference"."""
AUDIENCE_OF_AWS: Final = "sts.amazonaws.com"
AUDIENCE_OF_AZURE: Final = "api://AzureADTokenExchange"
BRANCH: Final = "refs/heads/main"


def subject(repository: str) -> str:
    """The token's subject for the main branch of a repository."""
    return f"repo:{repository}:ref:{BRANCH}"


def repository(text: str) -> str:
    """A validated ``OWNER/NAME``, which becomes part of a trust policy."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not OWNER/NAME, such as octo-org/helios")
    return text
