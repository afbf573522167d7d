"""Which Java is on PATH."""

import re
import shutil
import subprocess

_VERSION = re.compile(r'version "(\d+)')


def missing(program: str, *, oldest: int) -> str | None:
    """What this machine lacks to run a program in Java, as a sentence; None if it lacks nothing.

    Args:
        program: the name of the program.
        oldest: the oldest version of Java that runs it.
    """
    java = shutil.which("java")
    if java is None:
        return f"{program} needs Java {oldest} or newer: java is not on PATH."
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = _VERSION.search(answer)
    if version is None or int(version[1]) < oldest:
        return f"{program} needs Java {oldest} or newer: {java} is {answer.partition(chr(10))[0]}."
    return None
