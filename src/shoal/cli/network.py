"""`shoal network doctor`: how the nodes of a swarm see a network, side by side, and where they differ."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from shoal.cli import rendering
from shoal.cli.errors import CommandError, reason
from shoal.cli.hosts import Target
from shoal.cli.json_client import LONGEST_ANSWER_BYTES, JsonClient
from shoal.cli.network_doctor import Row, compare, lasting
from shoal.cli.network_views import View, objects, read, text
from shoal.cli.output import shortened
from shoal.cli.rendering import Column, Format, FormatOption, How, Listing, NoTruncOption, Result
from shoal.json_text import BadJson, read_json

VIEW = "/shoal/v1/networks/view"
# Nodes are not asked at one moment, and a change takes a second or so to all of them.
AGAIN_AFTER = 2.0  # seconds
_LABEL_LENGTH = 64  # of a node's name, as long as a hostname may be: it stands in each row
_SUBJECT_LENGTH, _CELL_LENGTH, _DIFFERENCE_LENGTH = 40, 40, 60

Answer = Mapping[str, Any]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Look into the networks of the swarm, node by node."
)


@app.callback()
def network() -> None:
    """Be a command with commands of its own, though it has one as yet."""


@app.command()
def doctor(
    context: typer.Context,
    ref: Annotated[
        str, typer.Argument(metavar="[NETWORK|SERVICE]", help="Which; else all overlays that this node is on.")
    ] = "",
    others: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="URL", help="Another node's daemon to ask as well. May be given again."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            metavar="FILE",
            help="Views that were saved with --format json; no daemon is asked then. May be given again.",
        ),
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Let a manager ask no other nodes.")] = False,
    only: Annotated[bool, typer.Option("--differences", "-d", help="Print only what differs.")] = False,
    form: FormatOption = Format.TEXT,
    no_trunc: NoTruncOption = False,
) -> None:
    """Lay side by side how nodes see a NETWORK, or the networks of a SERVICE, and mark what differs.

    Each node tells its names, addresses, neighbours, rules of virtual IPs and tracked connections; a manager tells
    besides what the store says should be, and asks the other nodes on the network, Docker Engines excepted. What
    differs is looked at a second time after two seconds, and only what still differs is marked. The exit code is 1
    where something is.

    Without a manager, or to ask a node that its manager does not reach: name its daemon by --with (tcp://ADDRESS:PORT
    with the TLS flags), or save its view there (`shoal network doctor --format json NETWORK > FILE`) and compare files.
    """
    answers, rows = _from_files(files) if files else _asked(context.obj, ref, others or (), alone=alone)
    found = [(name, row) for name, each in rows for row in each if row.differences or not only]
    nodes = [label for label, _ in answers]
    if form is Format.JSON:
        value = {"Views": [answer for _, answer in answers], "Rows": [_json(name, row) for name, row in found]}
        rendering.render(Result("", (), (), value), How(form))
    else:
        has_store = any(row.store for _, row in found)
        rendering.render(
            Listing(_columns(nodes, has_store), [_cells(*one) for one in found]), How(form, False, no_trunc)
        )
    if any(row.differences for _, row in found):
        raise typer.Exit(1)


def _asked(
    target: Callable[..., Target], ref: str, others: Sequence[str], *, alone: bool
) -> tuple[list[tuple[str, Answer]], list[tuple[str, list[Row]]]]:
    targets = [target(), *(target(other) for other in others)]
    query = {"ref": ref} if ref else {}
    path = f"{VIEW}?{urlencode(query if alone else {**query, 'others': 'true'})}"

    def ask() -> list[tuple[str, Answer]]:
        own = [JsonClient(one).one(path) for one in targets]
        # Nodes that were asked by their own daemon, or by another manager, are not shown twice.
        found = {text(each, "Node", "ID"): each for answer in own for each in objects(answer, "Others")}
        for answer in own:
            found.pop(text(answer, "Node", "ID"), None)
        shown = (*own, *found.values())
        return labelled([{key: value for key, value in each.items() if key != "Others"} for each in shown])

    answers = ask()
    rows = compared(answers)
    if any(row.differences for _, each in rows for row in each):
        time.sleep(AGAIN_AFTER)
        answers, before = ask(), dict(rows)
        rows = [(name, lasting(before.get(name, ()), each)) for name, each in compared(answers)]
    return answers, rows


def _from_files(files: Sequence[Path]) -> tuple[list[tuple[str, Answer]], list[tuple[str, list[Row]]]]:
    answers = labelled([answer for file in files for answer in _saved(file)])
    return answers, compared(answers)


def _saved(file: Path) -> list[dict[str, Any]]:
    try:
        with file.open("rb") as opened:
            content = opened.read(LONGEST_ANSWER_BYTES + 1)
        found = read_json(content, most_bytes=LONGEST_ANSWER_BYTES) if len(content) <= LONGEST_ANSWER_BYTES else None
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {reason(error)}") from error
    except BadJson:
        found = None
    views = objects(found, "Views")
    if not views:
        raise CommandError(f"{file} has no views: save them by shoal network doctor --format json")
    return views


def labelled(answers: Sequence[Answer]) -> list[tuple[str, Answer]]:
    """Return nodes' answers with what each is called: its hostname, and more where two have one."""
    names = [
        (text(answer, "Node", "Hostname") or text(answer, "Node", "ID") or "?")[:_LABEL_LENGTH] for answer in answers
    ]
    count, seen = Counter(names), Counter[str]()
    found: list[tuple[str, Answer]] = []
    for name, answer in zip(names, answers, strict=True):
        seen[name] += 1
        found.append((name if count[name] == 1 else f"{name}#{seen[name]}", answer))
    return found


def compared(answers: Sequence[tuple[str, Answer]]) -> list[tuple[str, list[Row]]]:
    """Return the rows of each network that any node has a view of, by the network's name."""
    by_network: dict[str, list[View]] = {}
    for label, answer in answers:
        for view in read(answer, label):
            by_network.setdefault(view.network, []).append(view)
    service = next((found for _, answer in answers if (found := text(answer, "Service"))), "")
    return [(views[0].name, compare(views, service)) for views in by_network.values()]


def _columns(nodes: Sequence[str], has_store: bool) -> list[Column]:
    short = shortened(_CELL_LENGTH)
    return [
        Column("NETWORK", "network"),
        Column("WHAT", "kind"),
        Column("OF", "subject", short=shortened(_SUBJECT_LENGTH)),
        *([Column("STORE", "store", short=short)] if has_store else []),
        *(Column(node.upper(), f"node {node}", short=short) for node in nodes),
        Column("DIFFERENCE", "difference", short=shortened(_DIFFERENCE_LENGTH), style="bold red"),
    ]


class _Cells(dict[str, str]):
    """The cells of a row; a node that has nothing to say of it has an empty one."""

    def __missing__(self, key: str) -> str:
        return ""


def _cells(name: str, row: Row) -> Mapping[str, str]:
    marked = f"≠ {'; '.join(row.differences)}" if row.differences else ""
    return _Cells(
        network=name,
        kind=row.kind,
        subject=row.subject,
        store=row.store,
        difference=marked,
        **{f"node {node}": cell for node, cell in row.cells.items()},
    )


def _json(name: str, row: Row) -> dict[str, Any]:
    return {
        "Network": name,
        "Kind": row.kind,
        "Subject": row.subject,
        "Store": row.store,
        "Nodes": dict(row.cells),
        "Differences": list(row.differences),
    }
