"""`shoal`: finds the daemon to call, runs a command, and prints an error as one line."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from shoal import __version__
from shoal.cli import hosts, network, stack, swarm, task
from shoal.cli.errors import CommandError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What Docker's command has no words for, on a host that runs shoald.",
)
app.add_typer(network.app, name="network")
app.add_typer(stack.app, name="stack")
app.add_typer(swarm.app, name="swarm")
app.add_typer(task.app, name="task")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shoal version {__version__}")
        raise typer.Exit


@app.callback()
def find_daemon(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            "-H",
            metavar="URL",
            help=f"The daemon: unix:///path or tcp://address:port. Else DOCKER_HOST, else {hosts.DEFAULT_HOST}.",
        ),
    ] = "",
    tlsverify: Annotated[bool, typer.Option("--tlsverify", help="Use TLS. Else DOCKER_TLS_VERIFY.")] = False,
    tlscacert: Annotated[str, typer.Option(metavar="FILE", help="CA of the daemon. Else in DOCKER_CERT_PATH.")] = "",
    tlscert: Annotated[str, typer.Option(metavar="FILE", help="Your certificate. Else in DOCKER_CERT_PATH.")] = "",
    tlskey: Annotated[str, typer.Option(metavar="FILE", help="Your key. Else in DOCKER_CERT_PATH.")] = "",
    version: Annotated[
        bool, typer.Option("--version", "-v", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Remember which daemon the command should call. The command finds it only when it makes a call."""
    del version
    files = hosts.TLSFiles(tlsverify, tlscacert, tlscert, tlskey)
    context.obj = lambda other="": hosts.find(other or host, files, os.environ)


def as_typer_has_them(arguments: Sequence[str]) -> list[str]:
    """Return arguments with Docker's `--flag=false` as `--no-flag`, and `--flag=true` as `--flag`."""
    found = list(arguments)
    for number, each in enumerate(found):
        flag, equals, value = each.partition("=")
        if each == "--":
            break
        if equals and flag.startswith("--") and value in ("true", "false"):
            found[number] = flag if value == "true" else f"--no-{flag[2:]}"
    return found


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Raises SystemExit; if the command failed, with code 1 and one line on standard error."""
    try:
        app(as_typer_has_them(sys.argv[1:] if arguments is None else arguments), prog_name="shoal")
    except CommandError as error:
        sys.stderr.write(f"shoal: {error}\n")
        sys.exit(1)


def main() -> None:
    """Run the program `shoal`."""
    signal.signal(signal.SIGTERM, _end)
    run()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that a half-written file is cleaned up


if __name__ == "__main__":
    main()
