"""Kinds of single values: how each is written as JSON and read back, and Go's name of its type.

A kind has `encode(value)`, which takes the value of a message's attribute, and `decode(json)`, which returns a value
for the message's constructor. `decode` raises `Mismatch` for JSON of a wrong type, and `InvalidArgument` for an unknown
value.
"""

import base64
import binascii
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BoolValue

from shoal.api import times
from shoal.engine.go_words import go_kind
from shoal.errors import InvalidArgument


class Mismatch(Exception):
    """The JSON has a type that the field does not accept. The codecs around it add the path."""

    def __init__(self, value: Any, go_type: str) -> None:
        kind = go_kind(value)
        shown = f"number {value}" if kind == "number" and go_type not in ("string", "bool") else kind
        self.found = shown
        self.go_type = go_type
        self.struct = ""
        self.path: list[str] = []
        super().__init__(shown)

    def text(self) -> str:
        """Return Go's error text. Source: encoding/json, UnmarshalTypeError."""
        where = f"Go struct field {self.struct}.{'.'.join(self.path)}" if self.struct else "Go value"
        return f"json: cannot unmarshal {self.found} into {where} of type {self.go_type}"


class Kind(Protocol):
    """A kind of value."""

    go_type: str

    def encode(self, value: Any) -> Any: ...
    def decode(self, value: Any) -> Any: ...


class Text:
    """A string."""

    go_type = "string"

    def encode(self, value: str) -> str:
        return value

    def decode(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Mismatch(value, self.go_type)
        # JSON can contain a lone surrogate, which is not valid UTF-8 for protobuf. Go replaces it too.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


class Flag:
    """True or false."""

    go_type = "bool"

    def encode(self, value: bool) -> bool:
        return value

    def decode(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise Mismatch(value, self.go_type)
        return value


class OptionalFlag(Flag):
    """True, false, or unset. In the message it is a wrapper message."""

    def encode(self, value: BoolValue) -> bool:  # type: ignore[override]
        return value.value

    def decode(self, value: Any) -> BoolValue:  # type: ignore[override]
        return BoolValue(value=super().decode(value))


class Whole:
    """A whole number within the range of its Go type."""

    def __init__(self, go_type: str) -> None:
        self.go_type = go_type
        bits = int(go_type.removeprefix("u").removeprefix("int"))
        unsigned = go_type.startswith("u")
        self.lowest = 0 if unsigned else -(1 << (bits - 1))
        self.highest = (1 << (bits if unsigned else bits - 1)) - 1

    def encode(self, value: int) -> int:
        return value

    def decode(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not self.lowest <= value <= self.highest:
            raise Mismatch(value, self.go_type)
        return value


class Float32:
    """A float of 32 bits, written with the fewest digits that give the same float."""

    go_type = "float32"

    def encode(self, value: float) -> float:
        if not math.isfinite(value):
            return 0  # JSON has no infinity or NaN. This value was not written through this API.
        if value == int(value) and abs(value) < 1 << 63:
            return int(value)
        for digits in range(1, 9):
            short = float(f"{value:.{digits}g}")
            if struct.pack("f", short) == struct.pack("f", value):
                return short
        return value

    def decode(self, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= 3.4e38:
            raise Mismatch(value, self.go_type)
        return value


_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


class Bytes:
    """Bytes as base64."""

    go_type = "[]uint8"

    def encode(self, value: bytes) -> str:
        return base64.b64encode(value).decode("ascii")

    def decode(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise Mismatch(value, self.go_type)
        try:
            return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):
            at = _first_bad_byte(value.encode("utf-8", "surrogatepass"))
            raise InvalidArgument(f"invalid JSON: illegal base64 data at input byte {at}") from None


def _first_bad_byte(data: bytes) -> int:
    """Return the offset at which Go says that this is not base64 (encoding/base64, `CorruptInputError`)."""
    kept = [(at, byte) for at, byte in enumerate(data) if byte not in b"\r\n"]
    for place, (at, byte) in enumerate(kept):
        if byte in _BASE64:
            continue
        if byte != ord("=") or place % 4 < 2:
            return at
        after = kept[place + 1 :]
        if place % 4 == 2:
            if not after:
                return len(data)
            if after[0][1] != ord("="):
                return after[0][0] - 1
            after = after[1:]
        return after[0][0] if after else len(data)
    begin = len(kept) - len(kept) % 4  # the text ends within a group of four
    return kept[begin][0] if begin < len(kept) else len(data)


class TextBytes(Text):
    """Bytes that hold text, such as PEM."""

    def encode(self, value: bytes) -> str:  # type: ignore[override]
        return value.decode("utf-8", "replace")

    def decode(self, value: Any) -> bytes:  # type: ignore[override]
        return super().decode(value).encode()


class Duration:
    """A duration, in nanoseconds in JSON."""

    go_type = "time.Duration"

    def encode(self, value: Any) -> int:
        # Go's clients read 64 bits. If a number is larger, they refuse the whole object.
        return min(max(times.nanos(value), _NANOSECONDS.lowest), _NANOSECONDS.highest)

    def decode(self, value: Any) -> Any:
        try:
            return times.duration_from_nanos(_NANOSECONDS.decode(value))
        except Mismatch:
            raise Mismatch(value, self.go_type) from None


class Instant:
    """A point in time, which is only encoded, never decoded."""

    go_type = "time.Time"

    def encode(self, value: Timestamp) -> str:
        return times.rfc3339(value)

    def decode(self, value: Any) -> Any:
        raise Mismatch(value, self.go_type)


class Enum:
    """One of a set of names. Other names are refused with the text `refusal`, where `%s` stands for the name.

    Without `refusal` other names are read as the default. A number without a name is shown as `unknown`.
    """

    go_type = "string"

    def __init__(self, names: Mapping[int, str], refusal: str = "", default: int = 0, unknown: str = "") -> None:
        self.names = names
        self.values = {name: value for value, name in names.items()}
        self.refusal = refusal
        self.default = default
        self.unknown = unknown

    def encode(self, value: int) -> str:
        return self.names.get(value, self.unknown)

    def decode(self, value: Any) -> int:
        if not isinstance(value, str):
            raise Mismatch(value, self.go_type)
        number = self.values.get(value)
        if number is not None:
            return number
        if value and self.refusal:
            raise InvalidArgument(self.refusal.replace("%s", value))
        return self.default


class AnyCaseEnum(Enum):
    """An `Enum` whose names match in any case, because Docker looks up the upper-case name in the protobuf enum."""

    def decode(self, value: Any) -> int:
        return super().decode(value.lower() if isinstance(value, str) and value.lower() in self.values else value)


def lower_names(items: Callable[[], Any]) -> dict[int, str]:
    """Return the names of a protobuf enum in lower case: `lower_names(api.NodeRole.items)`."""
    return {value: name.lower() for name, value in items()}


class ListOf:
    """A list. Items for which `shown` returns False are left out of the JSON."""

    def __init__(self, item: Kind, shown: Callable[[Any], bool] | None = None) -> None:
        self.item = item
        self.go_type = f"[]{item.go_type}"
        self.shown = shown

    def encode(self, value: Any) -> list[Any]:
        encode = self.item.encode
        if self.shown is None:
            return [encode(item) for item in value]
        return [encode(item) for item in value if self.shown(item)]

    def decode(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Mismatch(value, self.go_type)
        decode = self.item.decode
        return [decode(item) for item in value if item is not None]


class Texts(ListOf):
    """A list of strings."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def encode(self, value: Any) -> list[Any]:
        return list(value)

    def decode(self, value: Any) -> list[Any]:
        # In a list of strings, Go reads null as the empty string.
        return super().decode(["" if item is None else item for item in value] if isinstance(value, list) else value)


class TextMap:
    """Strings by name, written in the order of the names."""

    go_type = "map[string]string"

    def encode(self, value: Mapping[str, str]) -> dict[str, str]:
        return dict(sorted(value.items())) if len(value) > 1 else dict(value)

    def decode(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise Mismatch(value, self.go_type)
        return {TEXT.decode(name): TEXT.decode("" if item is None else item) for name, item in value.items()}


TEXT = Text()
FLAG = Flag()
OPTIONAL_FLAG = OptionalFlag()
INT32, INT64, UINT32, UINT64 = Whole("int32"), Whole("int64"), Whole("uint32"), Whole("uint64")
FLOAT32 = Float32()
BYTES = Bytes()
TEXT_BYTES = TextBytes()
_NANOSECONDS = Whole("int64")
DURATION = Duration()
INSTANT = Instant()
TEXTS = Texts()
TEXT_MAP = TextMap()
