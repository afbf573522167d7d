"""What GitHub's workflows show to a cloud instead of a password: a token that says which branch of what they are of."""

import argparse
import re
from typing import Final

ISSUER: Final = "https://token.actions.githubusercontent.com"
"""GitHub documentation, "OpenID Connect reference"."""
AUDIENCE_OF_AWS: Final = "sts.amazonaws.com"
AUDIENCE_OF_AZURE: Final = "api://AzureADTokenExchange"
BRANCH: Final = "refs/heads/main"


def subject(repository: str) -> str:
    """How the token names the main branch of a repository."""
    return f"repo:{repository}:ref:{BRANCH}"


def repository(text: str) -> str:
    """``OWNER/NAME``, checked: it becomes a part of what is trusted."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not OWNER/NAME, such as octo-org/helios")
    return text
