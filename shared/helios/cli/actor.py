"""Who runs a command, for the audit log."""

import getpass

from helios.model.tokens import COMMAND_LINE


def actor() -> str:
    """The command line, and the operating system's user if it has a name."""
    try:
        return f"{COMMAND_LINE} of {getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as in containers
        return COMMAND_LINE
