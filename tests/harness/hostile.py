"""Strategies for hypothesis: hostile bodies. Messages of any kind with any contents, and the same as JSON.

A hostile body gets past the first check only if some of it is right: ids that exist, a live session. `Known` says what
a field of a name usually holds. None: the field is a message, and is usually set.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

Known = Mapping[str, st.SearchStrategy[Any] | None]

MAX_DEPTH = 5
MAX_ITEMS = 3
MAX_FIELDS = 6

TEXTS: st.SearchStrategy[str] = (
    st.sampled_from(["", "x", "\0", "..", "/", "%s{}", "{{.Node", "-1", "ÿ" * 300, "\n", "\u202e", "a" * 70_000])
    | st.text(max_size=12)
)  # fmt: skip
_BITS = {1: 64, 2: 32}
_FLOATS = [0.0, -0.0, 1.5, -1.0, float("nan"), float("inf"), float("-inf"), 3.4e38]


def _edges(low: int, high: int) -> st.SearchStrategy[int]:
    edges = [0, 1, 2, 3, 700, 2377, low, low + 1, high, high - 1, 1 << 60, 2_000_000_000, -1]
    return st.sampled_from([edge for edge in edges if low <= edge <= high]) | st.integers(low, high)


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _edges(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: _edges(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: _edges(0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: _edges(0, (1 << 64) - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.sampled_from(_FLOATS),
    FieldDescriptor.CPPTYPE_FLOAT: st.sampled_from(_FLOATS),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}


def messages(kind: type[Message], known: Known | None = None, depth: int = MAX_DEPTH) -> st.SearchStrategy[Any]:
    """Return messages of a kind with some of its fields set: most to anything that their types can hold, some to more
    than that.
    """
    return _messages(kind, known or {}, depth)


@st.composite
def _messages(draw: Any, kind: type[Message], known: Known, depth: int) -> Any:
    made = kind()
    fields = cast(list[FieldDescriptor], list(kind.DESCRIPTOR.fields))
    wanted = [field for field in fields if field.name in known and draw(st.integers(0, 9)) > 0]
    others = [field for field in fields if field not in wanted]
    if others:
        wanted += draw(st.lists(st.sampled_from(others), max_size=MAX_FIELDS, unique=True))
    for field in wanted:
        _fill(draw, made, field, known, depth)
    if draw(st.integers(0, 19)) == 0:  # a field that only another version has
        made.MergeFromString(b"\xfa\x7f\x05other")
    return made


def _fill(draw: Any, made: Any, field: FieldDescriptor, known: Known, depth: int) -> None:
    if _is_map(field):
        assert field.message_type is not None
        held = getattr(made, field.name)
        value = field.message_type.fields_by_name["value"]
        for _ in range(draw(st.integers(0, MAX_ITEMS))):
            key = draw(_scalar(field.message_type.fields_by_name["key"], known))
            if value.message_type is not None:
                held[key].CopyFrom(draw(_messages(GetMessageClass(value.message_type), known, depth - 1)))
            else:
                held[key] = draw(_scalar(value, known))
        return
    if field.message_type is not None and depth <= 0:
        return
    if field.is_repeated:
        for _ in range(draw(st.integers(0, MAX_ITEMS))):
            if field.message_type is not None:
                item = draw(_messages(GetMessageClass(field.message_type), known, depth - 1))
                getattr(made, field.name).add().CopyFrom(item)
            else:
                getattr(made, field.name).append(draw(_scalar(field, known)))
    elif field.message_type is not None:
        sub = getattr(made, field.name)
        sub.SetInParent()
        sub.CopyFrom(draw(_messages(GetMessageClass(field.message_type), known, depth - 1)))
    else:
        setattr(made, field.name, draw(_scalar(field, known)))


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _scalar(field: FieldDescriptor, known: Known) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        anything = st.sampled_from(sorted(field.enum_type.values_by_number)) | _SCALARS[FieldDescriptor.CPPTYPE_INT32]
    elif field.type == FieldDescriptor.TYPE_BYTES:
        anything = st.binary(max_size=40) | TEXTS.map(str.encode)
    elif field.type == FieldDescriptor.TYPE_STRING:
        anything = TEXTS
    else:
        anything = _SCALARS[field.cpp_type]
    given = known.get(field.name)
    return anything if given is None else st.integers(0, 9).flatmap(lambda dice: given if dice else anything)


WRONG: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([1 << 60, -(1 << 63), (1 << 64) - 1, 700, -1, 1.5, 1e308])
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
"""JSON of any shape."""


def bent(body: Any) -> st.SearchStrategy[Any]:
    """Return bodies like a correct one, with something else in one to three places."""
    return _bent(json.dumps(body))


@st.composite
def _bent(draw: Any, text: str) -> Any:
    body = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        body = _put(body, draw(st.sampled_from(list(_paths(body)))), draw(WRONG))
    return body


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Any:
    yield at
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*at, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _paths(item, (*at, number))


def _put(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    if not path:
        return wrong
    value[path[0]] = _put(value[path[0]], path[1:], wrong)
    return value
