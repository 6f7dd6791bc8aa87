"""`shoal task`: why a task is on its node, or on none."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from shoal.cli import client, output
from shoal.cli.hosts import Target
from shoal.cli.output import Format

EXPLAIN = "/shoal/v1/tasks/{}/explain"

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Ask about a task of a service.")


@app.callback()
def group() -> None:
    """Keep `explain` a word of its own, though it is the only command."""


@app.command()
def explain(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's id, or the beginning of it.")],
    form: Annotated[Format, typer.Option("--format", help="How to print the answer.")] = Format.TEXT,
) -> None:
    """Say for each node why TASK was placed there, could be, or cannot be. Ask any manager.

    Nodes are listed in the order in which the scheduler would ask them now: the task's own first, then those that can
    take it, best first, then those that cannot, each with all its reasons.
    """
    target: Target = context.obj()
    with client.call(target, "GET", EXPLAIN.format(quote(task, safe=""))) as answer:
        found = client.json_object(answer, target)
    if form is Format.JSON:
        output.show_json(found)
        return
    listed = found["Nodes"]
    rows = [
        ("task", str(found["TaskID"])),
        ("state", str(found["State"])),
        ("nodes", f"{found['Suitable']} of {found['Considered']} can take it"),
        *((str(one["Hostname"] or one["NodeID"]), _verdict(one)) for one in listed),
    ]
    left_out = found["Considered"] - len(listed)
    notes = [f"{left_out} more nodes are not listed"] if left_out else []
    output.show(str(found["Message"]), rows, notes)


def _verdict(one: Mapping[str, Any]) -> str:
    cannot = f"cannot: {'; '.join(one['Reasons'])}" if one["Reasons"] else ""
    if cannot and not one["Chosen"]:
        return cannot
    facts = [f"other tasks there: {one['ServiceTasks']} of the service, {one['Tasks']} in all"]
    facts += [
        f"{each['Descriptor']} is {each['Value'] or 'absent'}, with {each['ServiceTasks']}" for each in one["Spread"]
    ]
    if one["Failures"]:
        facts.append(f"{one['Failures']} failed here lately" + (", so it goes last" if one["Avoided"] else ""))
    told = f"{'here' if one['Chosen'] else 'can'}: {'; '.join(facts)}"
    return f"{told}; now {cannot}" if cannot else told
