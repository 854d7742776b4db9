"""The options of the commands that make what proves who calls: `certs`, `tokens`."""

import argparse

from areal_mesh.cli.options import Command, SubCommands, add_command
from areal_mesh.runtime.roles import SERVICE_ROLES

DEFAULT_FOLDER = "certs"
_CERTIFIED = (*SERVICE_ROLES, "client")


def _init(options: argparse.Namespace) -> None:
    from areal_mesh.cli.certs import init

    init(options.folder, options.days, options.force)


def _issue(options: argparse.Namespace) -> None:
    from areal_mesh.cli.certs import issue_certificates

    issue_certificates(options.folder, options.roles, options.service_id, options.hosts, options.days, options.force)


def _rotate(options: argparse.Namespace) -> None:
    from areal_mesh.cli.certs import drop_old_authorities, new_authority, rotate

    if options.authority:
        new_authority(options.folder, options.days)
    elif options.drop_old:
        drop_old_authorities(options.folder)
    else:
        rotate(options.folder, options.names, options.days)


def _list_certificates(options: argparse.Namespace) -> int:
    from areal_mesh.cli.certs import list_certificates

    return list_certificates(options.folder)


def _add_token(options: argparse.Namespace) -> None:
    from areal_mesh.cli.tokens import add_token

    add_token(options.folder, options.name, options.access, options.days)


def _revoke_token(options: argparse.Namespace) -> None:
    from areal_mesh.cli.tokens import revoke_token

    revoke_token(options.folder, options.name)


def _list_tokens(options: argparse.Namespace) -> None:
    from areal_mesh.cli.tokens import list_tokens

    list_tokens(options.folder)


def add_security_commands(commands: SubCommands) -> None:
    """Adds them to the command's parser."""
    _add_certs(commands.add_parser("certs", help="Certificates of the services: a private authority of your own."))
    _add_tokens(commands.add_parser("tokens", help="Tokens of people: who may look, and who may steer."))


def _add_certs(parser: argparse.ArgumentParser) -> None:
    certs = parser.add_subparsers(required=True)
    init = _command(certs, "init", _init, "Make a private certificate authority: ca.pem, and ca.key that signs.")
    _days(init, "3650")
    _force(init)
    issue = _command(certs, "issue", _issue, "Make a certificate and its key for services of these roles.")
    issue.add_argument("roles", nargs="+", choices=_CERTIFIED, metavar="ROLE", help=", ".join(_CERTIFIED))
    issue.add_argument("--service-id", default="", metavar="ID", help="for this one service alone, not all of the role")
    issue.add_argument(
        "--host",
        action="append",
        default=[],
        dest="hosts",
        metavar="HOST",
        help="name or address at which the service is reached; may be repeated (this machine's, and loopback)",
    )
    _days(issue, "365")
    _force(issue)
    rotate = _command(
        certs, "rotate", _rotate, "Make certificates anew, for whom and where they are; or the authority."
    )
    rotate.add_argument("names", nargs="*", metavar="NAME", help="file name without .pem; left out, all")
    _days(rotate, "365")
    which = rotate.add_mutually_exclusive_group()
    which.add_argument("--authority", action="store_true", help="a new authority, trusted beside the old ones")
    which.add_argument("--drop-old", action="store_true", help="trust the newest authority alone")
    _command(certs, "list", _list_certificates, "Certificates of a folder: for whom, where, until when.")


def _add_tokens(parser: argparse.ArgumentParser) -> None:
    tokens = parser.add_subparsers(required=True)
    add = _command(tokens, "add", _add_token, "Make a token and print it, this once; the folder keeps its SHA-256.")
    add.add_argument("name", metavar="NAME", help="whose it is")
    add.add_argument(
        "--access", choices=("read-only", "operator"), default="read-only", help="to look, or to steer too (read-only)"
    )
    _days(add, "")
    revoke = _command(tokens, "revoke", _revoke_token, "Refuse a token from the next call on.")
    revoke.add_argument("name", metavar="NAME")
    _command(tokens, "list", _list_tokens, "Whose tokens there are, what for and until when.")


def _command(commands: SubCommands, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, run, text)
    parser.add_argument(
        "--folder", default=DEFAULT_FOLDER, metavar="FOLDER", help=f"folder of the certificates ({DEFAULT_FOLDER})"
    )
    return parser


def _days(parser: argparse.ArgumentParser, default: str) -> None:
    shown = default or "for ever"
    days = float(default) if default else None
    parser.add_argument("--days", type=_positive_days, default=days, metavar="N", help=f"how long it is good ({shown})")


def _positive_days(text: str) -> float:
    days = float(text)
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError("a number of days, up to 36500")
    return days


def _force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="write over what is there")
