"""Kinds of values: each checks one that was written, returns it in canonical form, and merges two of its kind.

The tables in `service_keys` and `keys` say which key has which kind. A canonical value is what Docker's compose program
prints for it in JSON.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from shoal.compose.errors import ComposeError
from shoal.compose.limits import Limits
from shoal.compose.node import OVERRIDE, RESET, Node, kind_of, plain


@dataclass(frozen=True, slots=True)
class Where:
    """What a kind must know of its surroundings: the key it is at, and what paths are relative to."""

    base: str
    home: str
    limits: Limits
    path: str = ""

    def key(self, name: str) -> "Where":
        """Return the surroundings of the value at a key below."""
        return replace(self, path=f"{self.path}.{name}" if self.path else name)

    def index(self, number: int) -> "Where":
        """Return the surroundings of an item of the list here."""
        return replace(self, path=f"{self.path}[{number}]")

    def wrong(self, node: Node, text: str) -> ComposeError:
        """Return the error about a value here."""
        return ComposeError(node.place, self.path, text)


class Kind(Protocol):
    """What a value may be."""

    def read(self, node: Node, where: Where) -> Node:
        """Return the value in canonical form. Raises ComposeError."""

    def merge(self, base: Node, over: Node) -> Node:
        """Return a canonical value with a later one laid over it."""


def merged(kind: Kind, base: Node, over: Node) -> Node:
    """Merge two canonical values, as their tags say."""
    if over.tag == OVERRIDE or base.tag == RESET:
        return over
    return base if over.value is None and not isinstance(kind, Replaced) else kind.merge(base, over)


class Scalar:
    """A value that a later one replaces."""

    def merge(self, base: Node, over: Node) -> Node:
        return over


class Replaced(Scalar):
    """A value that a later one replaces even where that is empty."""


def expect(node: Node, where: Where, wanted: str, *types: type) -> None:
    """Raise ComposeError unless a node's value is of one of the types."""
    is_wrong_bool = isinstance(node.value, bool) and bool not in types
    if is_wrong_bool or not isinstance(node.value, types):
        raise where.wrong(node, f"must be {wanted}, and is {kind_of(node.value)}")


@dataclass(frozen=True, slots=True)
class Anything(Scalar):
    """Anything: an extension, which nobody here reads."""

    def read(self, node: Node, where: Where) -> Node:
        return node


@dataclass(frozen=True, slots=True)
class Text(Scalar):
    """Text, if need be one of some, or of a pattern. `numbers`: also a number or a truth, which becomes text."""

    choices: tuple[str, ...] = ()
    pattern: str = ""
    numbers: bool = False
    nullable: bool = False

    def read(self, node: Node, where: Where) -> Node:
        if self.nullable and node.value is None:
            return node
        if self.numbers and isinstance(node.value, int | float):
            return node.made(as_text(node.value))
        expect(node, where, "text", str)
        if self.choices and node.value not in self.choices:
            raise where.wrong(node, f"is {node.value!r}, and must be one of: {', '.join(self.choices)}")
        if self.pattern and not re.search(self.pattern, node.value):
            raise where.wrong(node, f"is {node.value!r}, and must look like {self.pattern}")
        return node


def as_text(value: Any) -> str:
    """Return a plain scalar as Go would print it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
        if math.isnan(value):
            return "NaN"
        return str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)
    return str(value)


@dataclass(frozen=True, slots=True)
class Parsed(Scalar):
    """Text, or a number, that a function makes its canonical value of; None from it means that it cannot."""

    wanted: str
    parse: Callable[[str], Any]
    numbers: bool = True

    def read(self, node: Node, where: Where) -> Node:
        if self.numbers:
            expect(node, where, self.wanted, str, int, float)
        else:
            expect(node, where, f"text: {self.wanted}", str)
        found = self.parse(as_text(node.value))
        if found is None:
            raise where.wrong(node, f"is {as_text(node.value)[:60]!r}, and must be {self.wanted}")
        return node.made(found)


_TRUTHS = {"true": True, "y": True, "yes": True, "on": True, "false": False, "n": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Truth(Scalar):
    """True or false, also in words, as a variable puts them in."""

    def read(self, node: Node, where: Where) -> Node:
        expect(node, where, "true or false", bool, str)
        if isinstance(node.value, bool):
            return node
        found = _TRUTHS.get(node.value.lower())
        if found is None:
            raise where.wrong(node, f"is {node.value[:40]!r}, and must be true or false")
        return node.made(found)


@dataclass(frozen=True, slots=True)
class PathOf(Scalar):
    """A path of this host, made absolute."""

    resolve: Callable[[str, Where], str]

    def read(self, node: Node, where: Where) -> Node:
        expect(node, where, "text: a path", str)
        return node.made(self.resolve(node.value, where))


Unique = Callable[[Node], Any]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; a later one is appended. Of items that `unique` gives the same, the last counts, at the first's place.

    `single`: one item may stand without a list. `spread` makes several items of one.
    """

    item: Kind
    unique: Unique | None = None
    single: bool = False
    spread: Callable[[Node, Where], Sequence[Node] | None] | None = None

    def read(self, node: Node, where: Where) -> Node:
        if self.single and isinstance(node.value, str):
            return self._once(node.made([self.item.read(Node(node.value, node.place), where)]))
        expect(node, where, "a list", list)
        found: list[Node] = []
        for number, each in enumerate(node.value):
            at = where.index(number)
            several = self.spread(each, at) if self.spread else None
            if several is not None:
                where.limits.count(sum(len(one.entries) for one in several), each.place, at.path)
            found.extend([self.item.read(each, at)] if several is None else several)
        return self._once(node.made(found))

    def merge(self, base: Node, over: Node) -> Node:
        return self._once(over.made([*base.items, *over.items]))

    def _once(self, node: Node) -> Node:
        if self.unique is None:
            return node
        found: dict[Any, Node] = {}
        for each in node.items:
            found[self.unique(each)] = each
        return node.made(list(found.values()))


def by_value(node: Node) -> Any:
    """Return what a text in a list is told apart by: itself."""
    return node.value


def by(*keys: str, **defaults: str) -> Unique:
    """Return what mappings in a list are told apart by: the values of keys."""
    return lambda node: tuple(str(node.find(key) or defaults.get(key, "")) for key in keys)


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with keys that its author chose."""

    value: Kind
    pattern: str = ""
    nullable: bool = False

    def read(self, node: Node, where: Where) -> Node:
        if node.value is None and self.nullable:
            return node.made({})
        expect(node, where, "a mapping", dict)
        found: dict[str, Node] = {}
        for key, each in node.value.items():
            if self.pattern and not re.fullmatch(self.pattern, key):
                raise ComposeError(each.named_at, where.key(key).path, _bad_name(key))
            found[key] = read_entry(self.value, each, where.key(key))
        return node.made(found)

    def merge(self, base: Node, over: Node) -> Node:
        found = dict(base.entries)
        for key, each in over.entries.items():
            found[key] = merged(self.value, found[key], each) if key in found and each.tag != RESET else each
        return over.made(found)


def _bad_name(key: str) -> str:
    hint = " (variables are not put into keys)" if "$" in key else ""
    return f"{key[:60]!r} is no name: letters, digits, `.`, `_` and `-`{hint}"


def read_entry(kind: Kind, node: Node, where: Where) -> Node:
    """Read a value of a mapping. What is to be removed is not looked at."""
    if node.tag == RESET:
        return node
    made = kind.read(node, where)
    return Node(made.value, made.place, node.key_place, node.tag)


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys, and extensions (`x-`).

    `short` makes the long form of a short one, or returns None where the value is none. `finish` completes the mapping.
    """

    keys: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    short: Callable[[Node, Where], Node | None] | None = None
    nullable: bool = False
    extensible: bool = True
    wanted: str = "a mapping"
    finish: Callable[[Node, Where], Node] | None = None
    hints: Mapping[str, str] = field(default_factory=dict)

    def read(self, node: Node, where: Where) -> Node:
        if node.value is None and self.nullable:
            return node
        if self.short is not None and not isinstance(node.value, dict):
            node = self.short(node, where) or node
        expect(node, where, self.wanted, dict)
        found: dict[str, Node] = {}
        for key, each in node.value.items():
            kind = self.keys.get(key)
            if kind is not None:
                found[key] = read_entry(kind, each, where.key(key))
            elif self.extensible and key.startswith("x-"):
                found[key] = each
            else:
                raise ComposeError(each.named_at, where.key(key).path, self._unknown(key))
        for key in self.required:
            if key not in found:
                raise where.wrong(node, f"must have the key {key}")
        node = node.made(found)
        return self.finish(node, where) if self.finish is not None else node

    def merge(self, base: Node, over: Node) -> Node:
        found = dict(base.entries)
        for key, each in over.entries.items():
            kind = self.keys.get(key, _EXTENSION)
            found[key] = merged(kind, found[key], each) if key in found and each.tag != RESET else each
        return over.made(found)

    def _unknown(self, key: str) -> str:
        if key in self.hints:
            return self.hints[key]
        near = difflib.get_close_matches(key, self.keys, 1)
        return "is no key of the Compose specification" + (f": did you mean {near[0]}?" if near else "")


class _Extension(Scalar):
    """What extensions are merged as: mappings by key, lists appended."""

    def read(self, node: Node, where: Where) -> Node:
        return node

    def merge(self, base: Node, over: Node) -> Node:
        if isinstance(base.value, dict) and isinstance(over.value, dict):
            return Record({}).merge(base, over)
        if isinstance(base.value, list) and isinstance(over.value, list):
            return over.made([*base.value, *over.value])
        return over


_EXTENSION = _Extension()


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping to scalars, or a list of NAME=VALUE. A name alone has no value; `empty` becomes of that."""

    empty: str | None = ""

    def read(self, node: Node, where: Where) -> Node:
        expect(node, where, "a mapping, or a list of NAME=VALUE", dict, list)
        found: dict[str, Node] = {}
        if isinstance(node.value, dict):
            for key, each in node.value.items():
                if each.tag != RESET and each.value is not None:
                    expect(each, where.key(key), "text, a number or a truth", str, int, float, bool)
                text = self.empty if each.value is None else as_text(each.value)
                found[key] = Node(text, each.place, each.key_place, each.tag)
            return node.made(found)
        for number, each in enumerate(node.value):
            expect(each, where.index(number), "text: NAME=VALUE", str)
            name, equals, value = each.value.partition("=")
            found[name] = Node(value if equals else self.empty, each.place, each.place)
        return node.made(found)

    def merge(self, base: Node, over: Node) -> Node:
        found = dict(base.entries)
        found.update(over.entries)
        return over.made(found)


@dataclass(frozen=True, slots=True)
class Either:
    """One of two kinds: the first unless the value is of the types that the second one takes."""

    first: Kind
    second: Kind
    types: tuple[type, ...]

    def read(self, node: Node, where: Where) -> Node:
        return (self.second if isinstance(node.value, self.types) else self.first).read(node, where)

    def merge(self, base: Node, over: Node) -> Node:
        kinds = [self.second if isinstance(each.value, self.types) else self.first for each in (base, over)]
        return kinds[0].merge(base, over) if kinds[0] is kinds[1] else over


def without_resets(node: Node) -> Node:
    """Return a value without what was to be removed."""
    if isinstance(node.value, dict):
        kept = {key: without_resets(each) for key, each in node.value.items() if each.tag != RESET}
        return Node(kept, node.place, node.key_place)
    if isinstance(node.value, list):
        kept_items = [without_resets(each) for each in node.value if each.tag != RESET]
        return Node(kept_items, node.place, node.key_place)
    return Node(node.value, node.place, node.key_place)


def same(one: Node, other: Node) -> bool:
    """Return whether two values are equal, wherever they stand."""
    return bool(plain(one) == plain(other))
