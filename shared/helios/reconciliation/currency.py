"""Codes of currencies, as senders write them."""

_CODE_CHARS = 3
"""Length of a code of ISO 4217."""


def code_of(text: str) -> str | None:
    """The currency in capital letters; None if the text is not three letters.

    No other text is a currency: sums are stored by currency, and metrics are labelled with it.
    """
    return text.upper() if len(text) == _CODE_CHARS and text.isascii() and text.isalpha() else None
