"""``python -m scripts.build.api_lint``: prints what the tools find in the API's documents, and then exits with 1."""

import sys

from scripts.build import api_lint
from scripts.build.openapi import ASYNCAPI, OPENAPI


def main() -> int:
    """Check both documents and return the exit status."""
    findings = api_lint.openapi(OPENAPI) + api_lint.asyncapi(ASYNCAPI)
    sys.stdout.write(findings)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
