"""``helios erase``: erases what Helios stores about a customer or another value, with a signed receipt."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from helios import bootstrap
from helios.cli import database
from helios.cli.actor import actor
from helios.cli.terminal import write_json, write_line
from helios.errors import ConfigurationError, HeliosError
from helios.model.erasure import OUTSIDE, Receipt, Selector, selector


class ErasureIncompleteError(HeliosError):
    """The value is still stored, or a receipt is not authentic."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = (
        "erase the events with a value, and everything that was made of them: in the database, in the archive and in "
        "Kafka. The identities of the events stay as keyed digests, so that a delivery of one is refused"
    )
    parser = commands.add_parser("erase", help="erase what is stored about a customer", description=text)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--customer", metavar="ID", help="events with this customer_id")
    what.add_argument("--order", metavar="ID", help="events with this order_id")
    what.add_argument("--field", metavar="PATH=X", help="events with this value in the payload: email=ada@example.com")
    what.add_argument("--check", type=Path, metavar="FILE", help="check the signature of a receipt, and erase nothing")
    parser.add_argument(
        "--verify",
        type=Path,
        metavar="FILE",
        help="with the value of a receipt: scan for it, also in the log, and erase nothing. Exit code 2: it is left",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be removed, and change nothing")
    parser.set_defaults(run=_erase)


def _erase(options: argparse.Namespace) -> None:
    if options.check:
        _check(options.check)
        return
    chosen = _selector(options)
    if options.verify:
        _verify(options.verify, chosen)
        return
    settings = database.configure(require=[] if options.dry_run else ["erasure_secret"])
    with bootstrap.eraser(settings) as eraser:
        if options.dry_run:
            for place, number in eraser.preview(chosen).items():
                write_line(f"{place:<16} {number:>9,}")
            write_line("Nothing was changed. Out of reach: " + "; ".join(OUTSIDE) + ".")
            return
        receipt = eraser.erase(
            chosen, actor=actor(), secret=_signing_key(settings.erasure_secret), clock=lambda: datetime.now(UTC)
        )
    write_json(receipt)
    if receipt.left:
        raise ErasureIncompleteError(
            "The value is still found, see left. New events of it have arrived, or another field has the same text: "
            "repeat the command, or look at the rows."
        )


def _selector(options: argparse.Namespace) -> Selector:
    if options.customer is not None:
        return selector("customer_id", options.customer)
    if options.order is not None:
        return selector("order_id", options.order)
    path, _, value = options.field.partition("=")
    return selector(path, value)


def _authentic(file: Path, secrets: str | None) -> Receipt:
    """The receipt in a file.

    Raises:
        ConfigurationError: there is none.
        ErasureIncompleteError: its signature is wrong.
    """
    try:
        receipt = msgspec.json.decode(file.read_bytes(), type=Receipt)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{file}: is not a receipt: {error}") from error
    if not any(receipt.is_authentic(secret) for secret in (secrets or "").split()):
        raise ErasureIncompleteError(f"{file}: the signature is not that of this receipt")
    return receipt


def _verify(file: Path, chosen: Selector) -> None:
    settings = database.configure(require=["erasure_secret"])
    receipt = _authentic(file, settings.erasure_secret)
    if receipt.subject not in {chosen.digest(secret) for secret in (settings.erasure_secret or "").split()}:
        raise ConfigurationError(f"{file}: is the receipt of another value")
    with bootstrap.eraser(settings) as eraser:
        left = eraser.scan(chosen)
    now = datetime.now(UTC)
    overdue = receipt.overdue(left, now)
    write_json({"at": now, "left": left, "overdue": overdue, "outstanding": receipt.outstanding})
    if overdue:
        raise ErasureIncompleteError("The value is still found where it should no longer be: see overdue.")


def _check(file: Path) -> None:
    receipt = _authentic(file, database.configure(require=["erasure_secret"]).erasure_secret)
    write_line(f"The receipt is authentic: {receipt.field} {receipt.subject[:16]}, erased at {receipt.at}")


def _signing_key(secret: str | None) -> str:
    """The first of the secrets, which signs during a rotation."""
    return (secret or "").split()[0]
