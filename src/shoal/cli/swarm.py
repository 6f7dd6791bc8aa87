"""`shoal swarm`: saves the swarm to a file, and restores it from one."""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from shoal.cli import client, files, output, rendering
from shoal.cli.errors import CommandError
from shoal.cli.hosts import Target
from shoal.cli.json_client import JsonClient
from shoal.cli.rendering import Format, FormatOption, How, QuietOption, Result
from shoal.store.backup_file import DamagedBackup, Decoder, Summary

BACKUP = "/shoal/v1/swarm/backup"
RESTORE = "/shoal/v1/swarm/restore"

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Save a swarm to a file, and make it again of one."
)

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The file; - is standard output or input.")]

_SECRET = "This file is a secret: with it anybody becomes the swarm's manager. Keep it as you keep a root password."
_SEALED = (
    "It is sealed by the swarm's unlock key as it is now: keep `docker swarm unlock-key -q` elsewhere. "
    "What can be read in it all the same is who made it and how much there is."
)


@app.command()
def backup(
    context: typer.Context, file: FileArgument, form: FormatOption = Format.TEXT, quiet: QuietOption = False
) -> None:
    """Save the swarm to FILE while it runs. Any manager can do it, whether it leads or not.

    FILE has the state of the swarm at one moment, with every change that was acknowledged before: nodes, services,
    tasks, networks, secrets, configs, the CA with its key, tokens, and the identity of the manager that makes the
    backup. Volumes and images are not in it.

    FILE is a secret: with it anybody becomes the swarm's manager. It is written with mode 0600, whole or not at all,
    and replaces a file of that name. With autolock on, it is sealed by the current unlock key, which is not in it.
    """
    target: Target = context.obj()
    with files.written(file) as write:
        summary = _receive(target, write)
    on_stderr = file == files.STANDARD
    rendering.render(_saved(file, summary), How(form, quiet), on_stderr=on_stderr)


def _saved(file: str, summary: Summary) -> Result:
    shown = {"File": file, **summary.shown()}
    rows = [*_rows(shown), ("size", f"{output.human_size(summary.size_bytes)}, sha256 {summary.digest}")]
    again = f"To make the swarm again, on a host that is in none: shoal swarm restore {shlex.quote(file)}"
    notes = (_SECRET, *((_SEALED,) if summary.about.is_locked else ()), again)
    where = "to standard output" if file == files.STANDARD else f"in {file}"
    return Result(f"Swarm {summary.about.cluster_id} is saved {where}", rows, notes, shown)


def _receive(target: Target, write: Any) -> Summary:
    decoder = Decoder()
    with client.call(target, "GET", BACKUP) as answer:
        length = answer.getheader("Content-Length")
        try:
            for chunk in output.progress(client.pieces(answer, target), int(length) if length else None, "saving"):
                decoder.feed(chunk)
                write(chunk)
            return decoder.end()
        except DamagedBackup as error:
            raise CommandError(f"{target.url} did not send all of the backup: nothing was saved, try again") from error


@app.command()
def restore(
    context: typer.Context,
    file: FileArgument,
    advertise_addr: Annotated[
        str, typer.Option(metavar="ADDR", help="Where other nodes reach this one: address or interface[:port].")
    ] = "",
    listen_addr: Annotated[
        str, typer.Option(metavar="ADDR", help="Where this manager listens: address or interface[:port].")
    ] = "0.0.0.0:2377",
    data_path_addr: Annotated[
        str, typer.Option(metavar="ADDR", help="Address or interface for data path traffic.")
    ] = "",
    form: FormatOption = Format.TEXT,
    quiet: QuietOption = False,
) -> None:
    """Restore the swarm in FILE on a host that is in no swarm. It may be a new host with another address.

    The host becomes the manager that made the backup, and is the only manager. Swarm id, tokens, CA, services, secrets,
    configs and the unlock key are as they were. The other managers are no managers any more: remove them
    (`docker node rm`) and let new ones join. Workers that know an address of this host come back by themselves. Tasks
    of nodes that do not come back are replaced.

    Restore a swarm only when its managers are gone for good. Two swarms with the same identity would fight for the
    workers. A swarm with autolock comes back locked: `docker swarm unlock` opens it with the unlock key that was valid
    when the backup was made.
    """
    target: Target = context.obj()
    query = {"listenAddr": listen_addr, "advertiseAddr": advertise_addr, "dataPathAddr": data_path_addr}
    with files.opened(file) as source:
        chunks = output.progress(source.pieces(), source.size_bytes, "restoring")
        result = JsonClient(target).send(RESTORE, query, chunks, source.size_bytes)
    rendering.render(_restored(result), How(form, quiet))


def _restored(result: Mapping[str, Any]) -> Result:
    found = result["Backup"]
    rows = [("this node", str(result["NodeID"])), *_rows(found)]
    notes = [
        "Others join with the tokens of before (docker swarm join-token worker). To forget those that are gone for "
        "good: docker node rm NODE"
    ]
    if result["Locked"]:
        notes.insert(0, "It is locked. Open it with the unlock key of the time of the backup: docker swarm unlock")
    return Result(f"Swarm {found['ClusterID']} is restored; this host is its only manager", rows, notes, result)


def _rows(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("taken", f"{output.moment(shown['TakenAt'])} by manager {shown['Hostname']} ({shown['NodeID']})"),
        ("objects", output.counted(shown["Objects"])),
        ("version", str(shown["Version"])),
        ("autolock", "on" if shown["Locked"] else "off"),
    ]
