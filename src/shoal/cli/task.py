"""`shoal task`: lists the tasks of the whole swarm, and explains a task's placement.

Docker's command only lists the tasks of a service or of a node.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from shoal.cli import rendering
from shoal.cli.errors import CommandError
from shoal.cli.explain import explain
from shoal.cli.hosts import Target
from shoal.cli.json_client import JsonClient, Object
from shoal.cli.output import moment, natural, short_id, shortened
from shoal.cli.rendering import Column, Format, FormatOption, How, Listing, NoTruncOption, QuietListOption

TASKS, SERVICES, NODES = "/tasks", "/services", "/nodes"

_ERROR_LENGTH = 30  # letters, as in `docker service ps`

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Show the tasks of the swarm, and why they are where they are.",
)


app.command()(explain)


def _without_digest(image: str) -> str:
    return image.partition("@")[0]


_COLUMNS = (
    Column("ID", "ID", short=short_id),
    Column("NAME", "Name"),
    Column("IMAGE", "Image", short=_without_digest),
    Column("NODE", "Node"),
    Column("DESIRED STATE", "DesiredState"),
    Column("STATE", "State"),
    Column("SINCE", "Since", text=moment),
    Column("ERROR", "Error", short=shortened(_ERROR_LENGTH)),
)


@app.command("ls")
def list_tasks(
    context: typer.Context,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="NAME=VALUE",
            help="Which tasks: id, name, label, service, node, desired-state. May be given again.",
        ),
    ] = None,
    form: FormatOption = Format.TEXT,
    quiet: QuietListOption = False,
    no_trunc: NoTruncOption = False,
) -> None:
    """List the tasks of all services; those of the same slot or node newest first. Any manager answers."""
    target: Target = context.obj()
    client = JsonClient(target)
    wanted = _filters(filters or ())
    tasks = client.many(TASKS, wanted)
    services = {_text(each, "ID"): _text(each, "Spec", "Name") for each in client.many(SERVICES)}
    nodes = {_text(each, "ID"): _text(each, "Description", "Hostname") for each in client.many(NODES)}
    rows = [_row(each, services, nodes) for each in ordered(tasks, services)]
    rendering.render(Listing(_COLUMNS, rows), How(form, quiet, no_trunc))


def _filters(given: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in given:
        name, separator, value = each.partition("=")
        if not separator:
            raise CommandError(f"{each} is no filter: give NAME=VALUE")
        found.setdefault(name.strip().lower(), []).append(value)
    return found


def ordered(tasks: Sequence[Object], services: dict[str, str]) -> list[Object]:
    """Return tasks in the order of their names; those with the same name newest first."""
    # With the Z, 20Z would sort after 20.5Z.
    newest = sorted(tasks, key=lambda each: _text(each, "CreatedAt").rstrip("Z"), reverse=True)
    return sorted(newest, key=lambda each: natural(_name(each, services)))


def _name(each: Object, services: dict[str, str]) -> str:
    """Return `service.slot`, `service.node` for a global service, or the id of a task without a service."""
    service = _text(each, "ServiceID")
    if not service:
        return _text(each, "ID")
    return f"{services.get(service, service)}.{_text(each, 'Slot') or _text(each, 'NodeID')}"


def _row(each: Object, services: dict[str, str], nodes: dict[str, str]) -> dict[str, str]:
    node = _text(each, "NodeID")
    return {
        "ID": _text(each, "ID"),
        "Name": _name(each, services),
        "Image": _text(each, "Spec", "ContainerSpec", "Image"),
        "Node": nodes.get(node, node),
        "DesiredState": _text(each, "DesiredState"),
        "State": _text(each, "Status", "State"),
        "Since": _text(each, "Status", "Timestamp"),
        "Error": _text(each, "Status", "Err"),
    }


def _text(found: Any, *path: str) -> str:
    """Return the text or number at a path of an object, or an empty text if there is none."""
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return str(found) if isinstance(found, str | int) and found else ""
