"""``helios flow-versions``: save, preview, approve, withdraw and export the rules of flows that no file owns."""

import argparse
import sys
from pathlib import Path

from helios.cli.flows import client, common_options, positive_int, tables_module
from helios.cli.listing import write_for_programs
from helios.cli.terminal import write_json, write_line
from helios.cli.times import utc_text
from helios.errors import ConfigurationError
from helios.model.flow_versions import FlowRules, FlowVersion


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; each action sets ``run``, which takes the parsed arguments."""
    text = "edit the rules of flows that no file owns: save, preview, approve, withdraw and export them"
    actions = commands.add_parser("flow-versions", help=text, description=text).add_subparsers(
        dest="action", required=True
    )
    text = "list the flows, where their rules are, and their drafts"
    listing = actions.add_parser("list", help=text, description=text, parents=[common_options(lists=True)])
    listing.set_defaults(run=_list)
    text = "list the versions of a flow, the newest first"
    history = actions.add_parser("history", help=text, description=text, parents=[common_options(lists=True)])
    history.add_argument("flow", help="the name of the flow")
    history.add_argument("--limit", type=positive_int, default=20, metavar="N", help="at most N lines (%(default)s)")
    history.set_defaults(run=_history)
    text = "write the rules of a flow as TOML, byte for byte as their author wrote them"
    export = actions.add_parser("export", help=text, description=text, parents=[common_options()])
    export.add_argument("flow", help="the name of the flow")
    export.add_argument("--version", type=positive_int, metavar="N", help="this version; by default the one in force")
    export.add_argument("--output", type=Path, metavar="FILE", help="the file to write; by default standard output")
    export.set_defaults(run=_export)
    text = "save a file with one flow as a draft, which is not in force"
    save = actions.add_parser("save", help=text, description=text, parents=[common_options()])
    save.add_argument("file", type=Path, help="TOML with one [[flow]]")
    save.add_argument(
        "--based-on", type=positive_int, metavar="N", help="the latest version that you have seen, if there is one"
    )
    save.set_defaults(run=_save)
    text = "show what a version would change in recent flow instances; changes none"
    preview = actions.add_parser("preview", help=text, description=text, parents=[common_options(), _one_version()])
    preview.add_argument(
        "--days", type=positive_int, default=30, metavar="N", help="length of the period, up to now (%(default)s)"
    )
    preview.set_defaults(run=_preview)
    text = "put a previewed draft in force, and evaluate the stored flow instances by it"
    approve = actions.add_parser("approve", help=text, description=text, parents=[common_options(), _one_version()])
    approve.set_defaults(run=_approve)
    text = "end a flow that only its versions declare: no event is evaluated by it any more"
    withdraw = actions.add_parser("withdraw", help=text, description=text, parents=[common_options(), _one_version()])
    withdraw.add_argument("--yes", action="store_true", help="withdraw it; without this option nothing is changed")
    withdraw.set_defaults(run=_withdraw)


def _one_version() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("flow", help="the name of the flow")
    parser.add_argument("version", type=positive_int, help="the number of the version")
    return parser


def _list(options: argparse.Namespace) -> None:
    rows = client(options).flow_rules()
    if write_for_programs(options, rows, FlowRules.__struct_fields__):
        return
    for row in rows:
        in_force = f"version {row.in_force.version}" if row.in_force else row.owner
        draft = f"  draft {row.draft.version} by {row.draft.saved_by}" if row.draft else ""
        write_line(f"{row.flow:<20} {in_force:<12}{draft}")
        if row.read_only:
            write_line(f"  {row.flow} {row.read_only}")


def _history(options: argparse.Namespace) -> None:
    rows = client(options).flow_versions(options.flow, limit=options.limit)
    if write_for_programs(options, rows, FlowVersion.__struct_fields__):
        return
    for row in rows:
        approved = f"  approved {utc_text(row.approved_at)} by {row.approved_by}" if row.approved_at else ""
        write_line(f"{row.version:>4}  {row.state:<10}  saved {utc_text(row.saved_at)} by {row.saved_by}{approved}")


def _export(options: argparse.Namespace) -> None:
    text = client(options).flow_text(options.flow, options.version)
    if options.output:
        try:
            options.output.write_bytes(text)
        except OSError as error:
            raise ConfigurationError(f"{options.output}: {error.strerror}") from error
    else:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()


def _save(options: argparse.Namespace) -> None:
    try:
        text = options.file.read_bytes().decode()
    except OSError as error:
        raise ConfigurationError(f"{options.file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{options.file}: is not UTF-8") from error
    _show(options, client(options).save_flow_version(text, based_on=options.based_on))


def _preview(options: argparse.Namespace) -> None:
    result = client(options).preview_flow_version(options.flow, options.version, days=options.days)
    if options.json:
        write_json(result)
        return
    tables = tables_module()
    tables.show(tables.flow_preview(result))


def _approve(options: argparse.Namespace) -> None:
    _show(options, client(options).approve_flow_version(options.flow, options.version))


def _withdraw(options: argparse.Namespace) -> None:
    if not options.yes:
        raise ConfigurationError(
            f"The flow {options.flow} would end. Its instances would stay stored as they are, and not be shown. "
            "Repeat the command with --yes to withdraw it."
        )
    _show(options, client(options).withdraw_flow_version(options.flow, options.version))


def _show(options: argparse.Namespace, version: FlowVersion) -> None:
    if options.json:
        write_json(version)
    else:
        write_line(f"{version.flow}, version {version.version}: {version.state}")
