"""``helios query``: SQL over all events, in the database and in the archive. Only reads."""

import argparse

from helios.cli.archive import add_period, opened, period
from helios.cli.listing import cell
from helios.cli.terminal import note, write_csv, write_json


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = (
        "answer a SELECT of DuckDB over the view events: all events in the database and in the archive. Its columns "
        "are source, day, producer, id, type, subject, time, received_at, data, attributes, order_id, customer_id, "
        "amount, digest and archived"
    )
    parser = commands.add_parser("query", help="answer a SELECT over all events, also archived ones", description=text)
    parser.add_argument("sql", metavar="SQL", help='such as: "SELECT day, sum(amount) FROM events GROUP BY day"')
    add_period(parser)
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--csv", action="store_true", help="print CSV with a line of names (the default)")
    formats.add_argument("--json", action="store_true", help="print JSON lines instead")
    parser.set_defaults(run=_query)


def _query(options: argparse.Namespace) -> None:
    where = period(options)
    with opened() as archive:
        # Imported late: DuckDB is an optional dependency.
        from helios.adapters.archive import query

        result = query.run(archive.reading, archive.archive.manifest, options.sql, where)
    if options.json:
        for row in result.rows:
            write_json(dict(zip(result.columns, row, strict=True)))
    else:
        write_csv(result.columns)
        for row in result.rows:
            write_csv([cell(value) for value in row])
    note(
        f"{len(result.rows):,} rows in {result.seconds:.2f} s; {result.bytes_read / 1e6:,.1f} MB read from "
        f"{result.files_read:,} of {result.files:,} archive files"
    )
