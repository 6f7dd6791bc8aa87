"""`shoal task explain`: says why a task is on its node, or on none."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from shoal.cli import rendering
from shoal.cli.hosts import Target
from shoal.cli.json_client import JsonClient, Object
from shoal.cli.rendering import Format, FormatOption, How, Result

EXPLAIN = "/shoal/v1/tasks/{}/explain"


def explain(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's id, or the beginning of it.")],
    form: FormatOption = Format.TEXT,
) -> None:
    """Say for each node why TASK was placed there, could be, or cannot be. Any manager answers.

    The task's own node comes first, then the nodes that can take it, the scheduler's first choice on top, then those
    that cannot, each with all its reasons.
    """
    target: Target = context.obj()
    rendering.render(_result(JsonClient(target).one(EXPLAIN.format(quote(task, safe="")))), How(form))


def _result(found: Object) -> Result:
    listed = found["Nodes"]
    rows = [
        ("task", str(found["TaskID"])),
        ("state", str(found["State"])),
        ("nodes", f"{found['Suitable']} of {found['Considered']} can take it"),
        *((str(one["Hostname"] or one["NodeID"]), _verdict(one)) for one in listed),
    ]
    left_out = found["Considered"] - len(listed)
    notes = [f"{left_out} more nodes are not listed"] if left_out else []
    return Result(str(found["Message"]), rows, notes, found)


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
