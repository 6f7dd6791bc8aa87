"""Reads members of a request's JSON object by type, as Go reads JSON into a struct, with Go's words for a mismatch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shoal.engine.codec.kinds import FLAG, TEXT, TEXT_MAP, TEXTS, Kind, Mismatch
from shoal.engine.codec.message import member
from shoal.engine.requests import Call
from shoal.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object. `struct` is Go's name of its type, for error texts. An absent or null member counts as empty."""

    given: Mapping[str, Any]
    struct: str

    @classmethod
    async def read(cls, call: Call, struct: str) -> "Body":
        """Read the body of a call. A missing body is an empty object."""
        return cls(await call.json_object(), struct)

    def value(self, name: str, kind: Kind, default: Any) -> Any:
        """Return a member, or the default. Raises InvalidArgument if it has another type."""
        given = member(self.given, name)
        if given is None:
            return default
        try:
            return kind.decode(given)
        except Mismatch as error:
            error.path.insert(0, name)
            error.struct = error.struct or self.struct
            raise InvalidArgument(f"invalid JSON: {error.text()}") from None

    def text(self, name: str) -> str:
        """Return a string."""
        return str(self.value(name, TEXT, ""))

    def flag(self, name: str) -> bool:
        """Return true or false."""
        return bool(self.value(name, FLAG, False))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        return tuple(self.value(name, TEXTS, ()))

    def text_map(self, name: str) -> dict[str, str]:
        """Return an object of strings."""
        return dict(self.value(name, TEXT_MAP, {}))
