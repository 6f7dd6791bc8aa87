"""Decides what the removal of an image does: which names go, whether the image goes, or why it is refused. Pure.

Source of rules and texts: moby daemon/images/image_delete.go.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shoal.errors import Conflict, InvalidArgument
from shoal.runtime import references
from shoal.runtime.image_store import Record


@dataclass(frozen=True, slots=True)
class Plan:
    """The names (tags and digests, in full) to remove, and whether the image itself is removed."""

    untag: tuple[str, ...]
    delete: bool


def whole(record: Record, names: Sequence[str]) -> Plan:
    """Return the plan that removes an image with all its names."""
    return Plan((*names, *record.digests), True)


def decide(
    record: Record,
    names: Sequence[str],
    ref: str,
    *,
    force: bool,
    holders: Sequence[str],
    running: Callable[[str], bool],
) -> Plan:
    """Return what `docker rmi ref` does. Raises Conflict if a container or another name forbids it.

    `names` are the full tagged references of the image, `holders` the containers that use it.
    """
    short = _short(record.id)
    if _is_id(record, ref):
        repositories = {references.parse(name).name for name in (*names, *record.digests)}
        if (len(repositories) > 1 or len(names) > 1) and not force:
            raise Conflict(
                f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )
        plan = whole(record, names)
    else:
        plan = _untag(record, names, references.parse(ref).tagged())
        if plan.delete and holders and not force:
            raise Conflict(
                f"conflict: unable to remove repository reference {_quoted(ref)} (must force) - "
                f"container {holders[0][:12]} is using its referenced image {short}"
            )
        if plan.delete and holders:
            # With force the name is removed, but the image stays while a running container uses it.
            return Plan(plan.untag, False) if any(running(holder) for holder in holders) else plan
    if plan.delete:
        _check_use(short, force, holders, running)
    return plan


def _check_use(short: str, force: bool, holders: Sequence[str], running: Callable[[str], bool]) -> None:
    for holder in holders:
        if running(holder):
            raise Conflict(
                f"conflict: unable to delete {short} (cannot be forced) - "
                f"image is being used by running container {holder[:12]}"
            )
    if holders and not force:
        raise Conflict(
            f"conflict: unable to delete {short} (must be forced) - "
            f"image is being used by stopped container {holders[0][:12]}"
        )


def _untag(record: Record, names: Sequence[str], reference: references.Reference) -> Plan:
    gone = [f"{reference.name}@{reference.digest}" if reference.digest else reference.full]
    left = [name for name in names if name not in gone]
    digests = [digest for digest in record.digests if digest not in gone]
    # With the last tag of a repository its digests are removed too, unless the image was only pulled by digest.
    if not reference.digest and not any(references.parse(name).name == reference.name for name in left):
        gone += [digest for digest in digests if references.parse(digest).name == reference.name]
        digests = [digest for digest in digests if digest not in gone]
    return Plan(tuple(gone), not left and not digests)


def without(record: Record, gone: Sequence[str]) -> Record:
    """Return a record without some names."""
    return replace(
        record,
        names={name: number for name, number in record.names.items() if name not in gone},
        digests=tuple(digest for digest in record.digests if digest not in gone),
    )


def hide(record: Record) -> Record:
    """Return the record of a removed image whose layers a container still needs."""
    return replace(record, names={}, digests=(), hidden=True)


def _is_id(record: Record, ref: str) -> bool:
    if not references.is_id_prefix(ref) or not record.id.startswith("sha256:" + ref.removeprefix("sha256:")):
        return False
    try:
        full = references.parse(ref).tagged().full
    except InvalidArgument:
        return True
    return full not in record.names  # an image may have a name like `cafe`, which is also hexadecimal


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


def _quoted(text: str) -> str:
    return f'"{text}"'
