"""The spellings in which senders write the name of a field."""

import re
from functools import lru_cache
from itertools import product
from typing import Final

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@lru_cache(maxsize=4096)
def spellings(name: str) -> tuple[str, ...]:
    """The name of a field in each spelling that senders use, as declared first: ``order_id orderId OrderId``."""
    if not _IDENTIFIER.fullmatch(name):
        return (name,)
    words = [word.lower() for word in _WORD.findall(name)]
    pascal = "".join(word.capitalize() for word in words)
    forms = (name, "_".join(words), pascal[:1].lower() + pascal[1:], pascal)
    return tuple(dict.fromkeys(forms))


def spelled_paths(path: str) -> tuple[str, ...]:
    """A path, of names joined by dots, in every spelling of its names; as declared first."""
    return tuple(".".join(names) for names in product(*map(spellings, path.split("."))))
