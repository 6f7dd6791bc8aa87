"""From YAML to nodes, in no more time and memory than the limits below allow.

Reads libyaml's events one by one, so that a file is refused where it grows too large, before its aliases are followed.
An alias is the node that it names, and not a copy; what counts is how many nodes there would be with copies.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from shoal.compose.errors import ComposeError, Place
from shoal.compose.limits import Limits
from shoal.compose.node import OVERRIDE, RESET, Node
from shoal.compose.scalars import resolved

MAX_BYTES = 4 * 1024 * 1024  # the contents of a thousand services; a config inside a file may have 1 MB
MAX_DEPTH = 64  # the specification needs eight
_TAGS = {RESET, OVERRIDE}
_STANDARD = re.compile(r"tag:yaml\.org,2002:(str|int|float|bool|null|map|seq|binary|timestamp)\Z")
_MERGE = "<<"


def documents(content: bytes, file: str, limits: Limits) -> list[Node]:
    """Return the documents of a YAML file, whose values `limits` counts. Raises ComposeError."""
    if len(content) > MAX_BYTES:
        raise ComposeError(Place(file), "", f"has {len(content):,} bytes, and may have {MAX_BYTES:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ComposeError(Place(file, line), "", "is not UTF-8 text") from error
    return list(_Reader(text, file, limits).documents())


class _Reader:
    def __init__(self, text: str, file: str, limits: Limits) -> None:
        self._limits = limits
        self._file = file
        self._events = self._guarded(text)
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._open: list[str] = []  # anchors of what is being read, which an alias below must not name

    def _guarded(self, text: str) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(self._file, mark.line + 1, mark.column + 1) if mark else Place(self._file)
            raise ComposeError(place, "", f"is no YAML: {error.problem or error.context}") from error
        except yaml.YAMLError as error:
            at = getattr(error, "position", 0)
            line = text.count("\n", 0, at) + 1 if isinstance(at, int) and at else 0
            raise ComposeError(Place(self._file, line), "", f"is no YAML: {str(error).splitlines()[0]}") from error

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                document, size = self._node(next(self._events), 0)
                self._limits.count(size, document.place)
                yield document

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1) if mark else Place(self._file)

    def _node(self, event: yaml.Event, depth: int) -> tuple[Node, int]:
        """Return the node that begins with an event, and how many nodes it has in all."""
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), place)
        if depth > MAX_DEPTH:
            raise ComposeError(place, "", f"is nested deeper than {MAX_DEPTH} levels")
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        tag = self._tag(event, place)
        if isinstance(event, yaml.ScalarEvent):
            made, size = Node(self._scalar(event, tag), place, None, tag if tag in _TAGS else ""), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            made, size = self._sequence(place, tag, depth)
        else:
            made, size = self._mapping(place, tag, depth)
        if anchor is not None:
            self._anchors[anchor] = made, size
        return made, size

    def _alias(self, anchor: str, place: Place) -> tuple[Node, int]:
        if anchor not in self._anchors:
            raise ComposeError(place, "", f"there is no anchor &{anchor} before this")
        found = self._anchors[anchor]
        if found is None:
            raise ComposeError(place, "", f"*{anchor} is inside of what &{anchor} names")
        return found

    def _tag(self, event: yaml.Event, place: Place) -> str:
        tag = getattr(event, "tag", None)
        if tag is None or tag == "!" or tag in _TAGS:
            return tag or ""
        if _STANDARD.match(tag):
            return str(tag)
        raise ComposeError(place, "", f"the tag {tag} is unknown: Compose has !reset and !override")

    def _scalar(self, event: yaml.ScalarEvent, tag: str) -> Any:
        if event.style not in (None, ""):
            is_plain = False
        else:
            is_plain = tag in ("", RESET, OVERRIDE) or not tag.endswith(("str", "!"))
        return resolved(event.value) if is_plain else event.value

    def _sequence(self, place: Place, tag: str, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        size = 1
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            item, more = self._node(event, depth + 1)
            size = self._counted(size + more, item.place)
            items.append(item)
        return Node(items, place, None, tag if tag in _TAGS else ""), size

    def _mapping(self, place: Place, tag: str, depth: int) -> tuple[Node, int]:
        entries: dict[str, Node] = {}
        merged: list[Node] = []
        size = 1
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key, at = self._key(event)
            value, more = self._node(next(self._events), depth + 1)
            size = self._counted(size + more, at)
            if key == _MERGE and isinstance(event, yaml.ScalarEvent) and event.style in (None, ""):
                merged.extend(self._bases(value, at))
                continue
            if key in entries:
                raise ComposeError(at, key, f"is here a second time, after line {entries[key].named_at.line}")
            entries[key] = Node(value.value, value.place, at, value.tag)
        for base in merged:  # what stands here counts most, then the first base
            for key, value in base.entries.items():
                entries.setdefault(key, value)
        return Node(entries, place, None, tag if tag in _TAGS else ""), size

    def _key(self, event: yaml.Event) -> tuple[str, Place]:
        at = self._place(event)
        found = self._alias(str(event.anchor), at)[0].value if isinstance(event, yaml.AliasEvent) else None
        if isinstance(event, yaml.ScalarEvent):
            found = self._scalar(event, self._tag(event, at))
        if not isinstance(found, str):
            raise ComposeError(at, "", "a key must be text: put it in quotes")
        return found, at

    def _bases(self, value: Node, at: Place) -> list[Node]:
        bases = value.items if isinstance(value.value, list) else [value]
        for base in bases:
            if not isinstance(base.value, dict):
                raise ComposeError(at, _MERGE, "merges mappings alone")
        return bases

    def _counted(self, size: int, place: Place) -> int:
        if size > self._limits.values_left:
            self._limits.count(size, place)
        return size
