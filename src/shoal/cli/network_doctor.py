"""Several nodes' views of one network, side by side, and where they differ. Pure.

Three things are held against each other: what the store says should be, what nodes tell each other, and what each
kernel has. In: views (`network_views`). Out: rows in one order; the reason stands in those that differ.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from ipaddress import ip_address

from shoal.cli.network_views import Balance, Task, View

NAME, ADDRESS, NEIGHBOUR, VIRTUAL, FLOWS, TROUBLE = (
    "name",
    "address",
    "neighbour",
    "virtual IP",
    "connections",
    "trouble",
)
NO_VIEW = "no view"
ABSENT = "-"
_NODES_DIFFER = "nodes differ"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing, as each node has it. A node that has nothing to say of it is not among the cells."""

    kind: str
    subject: str
    cells: Mapping[str, str]
    store: str = ""
    differences: tuple[str, ...] = field(default=())


def compare(views: Sequence[View], service: str = "") -> list[Row]:
    """Return the rows of one network; with a service, its own alone."""
    there = [view for view in views if not view.reason]
    tasks = {address: task for view in views if view.store for address, task in view.store.tasks.items()}
    vips = {vip: name for view in views if view.store for vip, name in view.store.vips.items()}
    for view in there:
        for endpoint in view.endpoints.values():
            if endpoint.vip:
                vips.setdefault(endpoint.vip, endpoint.service)
    has_store = any(view.store for view in views)
    rows = [
        *_names(there),
        *_addresses(there, tasks, has_store=has_store),
        *_neighbours(there),
        *_virtuals(there, vips),
        *_flows(there, vips),
        *_troubles(views, tasks),
    ]
    if not service:
        return rows
    own = _addresses_of(service, there, tasks, vips)
    return [row for row in rows if _is_of(row, own)]


def lasting(first: Iterable[Row], second: Iterable[Row]) -> list[Row]:
    """Return the second rows, with only those differences that the first had too: others were changes under way."""
    before = {(row.kind, row.subject): row for row in first}

    def kept(row: Row) -> tuple[str, ...]:
        former = before.get((row.kind, row.subject))
        return row.differences if former is not None and former.differences else ()

    return [Row(row.kind, row.subject, row.cells, row.store, kept(row)) for row in second]


def _ordered(addresses: Iterable[str]) -> list[str]:
    def key(text: str) -> tuple[int, int, str]:
        try:
            address = ip_address(text)
        except ValueError:
            return 9, 0, text
        return address.version, int(address), ""

    return sorted(addresses, key=key)


def _differ(cells: Mapping[str, str]) -> list[str]:
    return [_NODES_DIFFER] if len(set(cells.values())) > 1 else []


def _names(views: Sequence[View]) -> Iterator[Row]:
    for name in sorted({name for view in views for name in view.names}):
        cells = {view.node: " ".join(_ordered(view.names.get(name, ()))) or ABSENT for view in views}
        yield Row(NAME, name, cells, differences=tuple(_differ(cells)))


def _addresses(views: Sequence[View], tasks: Mapping[str, Task], *, has_store: bool) -> Iterator[Row]:
    known = {address: endpoint.name for view in views for address, endpoint in view.endpoints.items()}
    # A Docker Engine tells of one address of its tasks that have two.
    heard = {task for address, task in tasks.items() if address in known}
    for address in _ordered({*known, *tasks}):
        cells = {view.node: _place(view, address) for view in views}
        task = tasks.get(address)
        found = _differ(cells)
        if task is not None and task not in heard and task.is_settled and views:
            found.append("no node knows this task")
        if has_store and task is None:
            found.append("no task of the swarm has it")
        for view in views:
            container, named = view.own.get(address, ("", True))
            if not named:
                found.append(f"{view.node}: container {container[:12]} is not answered names")
        store = f"{task.node}, {task.state}" if task is not None else ABSENT if has_store else ""
        name = known.get(address) or (task.name if task is not None else "")
        yield Row(ADDRESS, f"{address} {name}".strip(), cells, store, tuple(found))


def _place(view: View, address: str) -> str:
    endpoint = view.endpoints.get(address)
    if endpoint is None:
        return ABSENT
    return f"at {endpoint.node or 'no node'}" + (", leaving" if endpoint.leaving else "")


def _neighbours(views: Sequence[View]) -> Iterator[Row]:
    addresses = {address for view in views for table in (view.wanted, view.kernel) for address in table or ()}
    for view in views:
        if view.wanted is not None:
            # Told of by name, and no entry says where it is: nothing leads there.
            addresses |= {address for address in view.endpoints if address not in view.own}
    for address in _ordered(addresses):
        cells, found = {}, []
        for view in views:
            if view.wanted is None or view.kernel is None:
                continue
            there, wanted = view.kernel.get(address, ABSENT), view.wanted.get(address, ABSENT)
            cells[view.node] = "here" if address in view.own and there == ABSENT else there
            if there != wanted:
                found.append(f"{view.node}: the kernel has {there}, and should have {wanted}")
            elif there == ABSENT and address in view.endpoints and address not in view.own:
                found.append(f"{view.node}: nothing leads there")
        if cells:
            yield Row(NEIGHBOUR, address, cells, differences=tuple(found))


def _virtuals(views: Sequence[View], vips: Mapping[str, str]) -> Iterator[Row]:
    for vip in _ordered({vip for view in views for vip in view.balances}):
        cells, found = {}, []
        for view in views:
            balances = view.balances.get(vip, ())
            if balances:
                cells[view.node] = _led(balances)
                found += [f"{view.node}: {words}" for one in balances if (words := _wrong(one))]
        yield Row(VIRTUAL, f"{vip} {vips.get(vip, '')}".strip(), cells, differences=(*found, *_differ(cells)))


def _led(balances: Sequence[Balance]) -> str:
    ways = {_spelled(one.found) for one in balances}
    return ways.pop() if len(ways) == 1 else "containers differ"


def _spelled(backends: frozenset[str] | None) -> str:
    return ABSENT if backends is None else " ".join(_ordered(backends)) or "refused"


def _wrong(one: Balance) -> str:
    if one.wanted == one.found:
        return ""
    return f"in {one.container} the rules lead to {_spelled(one.found)}, and should to {_spelled(one.wanted)}"


def _flows(views: Sequence[View], vips: Mapping[str, str]) -> Iterator[Row]:
    for vip in _ordered({vip for view in views for vip in view.flows}):
        cells, found = {}, []
        for view in views:
            counts = view.flows.get(vip, {})
            if vip not in view.balances:
                continue
            cells[view.node] = " ".join(f"{address}:{counts[address]}" for address in _ordered(counts)) or ABSENT
            good = {one for balance in view.balances[vip] for one in (*(balance.wanted or ()), *balance.leaving)}
            if strays := _ordered(counts.keys() - good):
                found.append(f"{view.node}: connections to {' '.join(strays)}, which is no backend")
        yield Row(FLOWS, f"{vip} {vips.get(vip, '')}".strip(), cells, differences=tuple(found))


def _troubles(views: Sequence[View], tasks: Mapping[str, Task]) -> Iterator[Row]:
    for view in views:
        if view.reason:
            has_tasks = any(task.node == view.node and task.is_settled for task in tasks.values())
            marked = view.asked and has_tasks
            yield Row(NO_VIEW, view.reason, {view.node: "yes"}, differences=("it has tasks there",) if marked else ())
        for words in view.troubles:
            yield Row(TROUBLE, words, {view.node: "yes"}, differences=(f"{view.node} says so",))


def _addresses_of(service: str, views: Sequence[View], tasks: Mapping[str, Task], vips: Mapping[str, str]) -> Set[str]:
    own = {vip for vip, name in vips.items() if name == service}
    own |= {address for address, task in tasks.items() if task.service == service}
    return own | {address for view in views for address, one in view.endpoints.items() if one.service == service}


def _is_of(row: Row, own: Set[str]) -> bool:
    """Return whether a row is about a service with these addresses."""
    belongs: Callable[[str], bool] = own.__contains__
    if row.kind == NAME:
        return any(belongs(address) for cell in row.cells.values() for address in cell.split())
    return row.kind in (TROUBLE, NO_VIEW) or belongs(row.subject.partition(" ")[0])
