"""``python -m scripts.build.words [PATH ...]``, a part of ``make lint``: finds words that Helios does not use.

The texts are documentation, comments, messages and names. Each word in the list has a plain technical equivalent, such
as "retry later" for "put off". A pattern leaves out the standard uses of its word. Prints ``file:line`` for each
finding and exits with 1 if there is one.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from scripts.build.tools import ROOT

CHECKED: Final = (".",)
"""The paths that are checked without arguments."""

_TEXTS: Final = re.compile(r"\.(?:py|md|sql|tf|toml|tsx?|ya?ml)$|(?:^|/)Makefile$|^\.ci/run$")

_SKIPPED: Final = re.compile(
    r"(?:^|/)package-lock\.json$|\.lock$"
    r"|^shared/helios/adapters/postgres/migrations/00(?:0\d|1[0-4])_"  # released; 0014 names the old columns
    r"|^tests/payloads/"  # payloads of vendors
    r"|^dashboard/src/api/schema\.d\.ts$"  # generated from the API's docstrings
    r"|^scripts/build/words\.py$|^tests/unit/test_words\.py$"  # the words themselves
)

_PHRASES: Final = (
    r"anew",
    r"bells?",
    r"belongs? into",
    r"bur(?:y|ies|ied|ying)",
    r"by itself",
    r"(?:can't|cannot|can not) be had",
    r"for ever",
    r"g(?:ive|ives|ave|iven|iving) way",
    r"graves?",
    r"in vain",
    r"letters?",
    r"notar(?:y|ies)",
    r"now and then",
    r"put(?:s|ting)? off",
    r"rung",
    r"so many",
    r"stor(?:y|ies)",
    r"t(?:ake|akes|ook|aken|aking) in",
    r"tells? of",
    r"told",
    r"ways? in",
    r"who watch(?:es)?",
)

_STANDARD_USES: Final = (
    r"dead[- ]letters?",
    r"(?:ascii|capital|upper[- ]case|lower[- ]case|two|three|four) letters?",
    r"letters?,? (?:and |or )?(?:digits?|numbers?)",
    r"\d+ letters",
    r"(?:begin|start)s? with a letter",
    r"letter-spacing",
    r"slack bells?",
    r"ways? in which",
)
"""They are tried first, so that the words in them are not found."""

_GAP: Final = r"\s+(?:[#*/|>-]+\s+)?"
"""Between two words: a space, or the end of a line and the mark of a comment or quotation."""


def _either(phrases: Iterable[str]) -> str:
    return "|".join(rf"\b{phrase}\b".replace("[- ]", f"(?:-|{_GAP})").replace(" ", _GAP) for phrase in phrases)


_WORDS: Final = re.compile(f"{_either(_STANDARD_USES)}|(?P<word>{_either(_PHRASES)})", re.IGNORECASE)


def findings(text: str) -> Iterator[tuple[int, str]]:
    """The line, counted from 1, and the words of each finding in a text."""
    for match in _WORDS.finditer(text):
        if word := match["word"]:
            yield text.count("\n", 0, match.start()) + 1, " ".join(word.split())


def is_checked(name: str) -> bool:
    """Whether a file, named by its path in the repository, is a text that Helios' developers write."""
    return bool(_TEXTS.search(name)) and not _SKIPPED.search(name)


def tracked(paths: Sequence[str], root: Path) -> list[str]:
    """The tracked files below these paths.

    Raises:
        subprocess.CalledProcessError: git failed; the reason is on standard error.
    """
    command = ["git", "ls-files", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    return listed.stdout.rstrip("\0").split("\0")


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Print the findings and return the exit status."""
    parser = argparse.ArgumentParser(prog="words", description="Find words that Helios' texts must not contain.")
    parser.add_argument(
        "paths", nargs="*", default=CHECKED, metavar="PATH", help=f"what to check ({', '.join(CHECKED)})"
    )
    status = 0
    for name in tracked(parser.parse_args(arguments).paths, root):
        file = root / name
        if not is_checked(name) or not file.is_file():  # a file may be deleted and still tracked
            continue
        for line, word in findings(file.read_text(encoding="utf-8")):
            status = 1
            sys.stdout.write(f"{name}:{line}: {word}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
