"""The codec of one message, declared by its fields.

    PLATFORM = MessageCodec(api.Platform, field("Architecture", "architecture"), field("OS", "os"))

The arguments of `field` are: the field's name in JSON, the message's attribute, the kind (text by default), and when
the field is written: `FILLED` (not if it is empty, like Go's omitempty), `ALWAYS`, ... (see `When`). As in Go, JSON
fields that are not declared are ignored, and names match in any case.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from shoal.engine.codec.kinds import TEXT, Kind, Mismatch
from shoal.errors import InvalidArgument

M = TypeVar("M", bound=Message)


class When(Enum):
    """When a field is written to the JSON."""

    FILLED = "filled"  # not if it is empty: "", 0, false, [], {}, an absent message
    ALWAYS = "always"  # even if it is empty; an absent message becomes an empty one
    NULLABLE = "nullable"  # an absent message becomes null
    NONZERO = "nonzero"  # not if it is absent or zero, for a duration that Go keeps by value


FILLED, ALWAYS, NULLABLE, NONZERO = When


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name in JSON, the attribute of the message, its kind, and when it is shown."""

    json: str
    attribute: str
    kind: Kind
    when: When
    inline: bool = False  # the sub-message's fields are written into the object itself
    set: bool = True  # False: written, but ignored in a request


def field(json: str, attribute: str, kind: Kind = TEXT, when: When = FILLED, *, set: bool = True) -> Field:  # noqa: A002
    """Declare a field."""
    return Field(json, attribute, kind, when, set=set)


def inline(attribute: str, kind: "MessageCodec[Any]") -> Field:
    """Declare a sub-message whose fields are written into the object itself, like an embedded struct in Go."""
    return Field("", attribute, kind, ALWAYS, inline=True)


Shown = Callable[[Any, dict[str, Any]], None]
Read = Callable[[Mapping[str, Any], dict[str, Any]], None]


class MessageCodec(Generic[M]):
    """Writes one kind of message as JSON, and reads it.

    `shown(message, json)` may change the JSON after the fields are written. `read(json, arguments)` may change the
    arguments of the message's constructor after the fields are read, or raise InvalidArgument.
    """

    def __init__(
        self, cls: type[M], *fields: Field, go_name: str = "", shown: Shown | None = None, read: Read | None = None
    ) -> None:
        self.cls = cls
        self.fields = fields
        self.go_name = go_name or cls.DESCRIPTOR.name
        self.go_type = f"swarm.{self.go_name}"
        self._shown = shown
        self._read = read
        self._encoders = tuple(_encoder(cls, each) for each in fields)
        self._by_name = {each.json: each for each in fields if each.set and not each.inline}
        self._by_lower = {name.lower(): each for name, each in self._by_name.items()}
        self._inline = tuple(each for each in fields if each.inline and each.set)

    def encode(self, value: M) -> dict[str, Any]:
        """Return the JSON object for a message."""
        json: dict[str, Any] = {}
        for encode in self._encoders:
            encode(value, json)
        if self._shown is not None:
            self._shown(value, json)
        return json

    def decode(self, value: Any) -> M:
        """Return the message for a JSON object. Raises Mismatch or InvalidArgument."""
        return self.cls(**self.arguments(value))

    def arguments(self, value: Any) -> dict[str, Any]:
        """Return the arguments for the message's constructor. Raises Mismatch or InvalidArgument."""
        if not isinstance(value, dict):
            raise Mismatch(value, self.go_type)
        arguments: dict[str, Any] = {}
        for name, item in value.items():
            each = self._by_name.get(name) or self._by_lower.get(name.lower())
            if each is None or item is None:
                continue
            try:
                arguments[each.attribute] = each.kind.decode(item)
            except Mismatch as error:
                error.path.insert(0, each.json)
                error.struct = error.struct or self.go_name
                raise
        for each in self._inline:
            try:
                arguments[each.attribute] = each.kind.decode(value)
            except Mismatch as error:
                if error.struct == each.kind.go_type.removeprefix("swarm."):
                    error.struct = self.go_name  # Go names the outer struct for fields of an embedded one
                raise
        if self._read is not None:
            self._read(value, arguments)
        return arguments


def member(given: Any, name: str) -> Any:
    """Return a member of a JSON object, matching its name in any case. None if there is none or it is no object."""
    if not isinstance(given, dict):
        return None
    if name in given:
        return given[name]
    return next((value for key, value in given.items() if key.lower() == name.lower()), None)


def decode_body(codec: MessageCodec[M], value: Any) -> M:
    """Return the message for a request's body. Null and a missing body are an empty object. Raises InvalidArgument."""
    try:
        return codec.decode({} if value is None else value)
    except Mismatch as error:
        raise InvalidArgument(f"invalid JSON: {error.text()}") from None


Encoder = Callable[[Any, dict[str, Any]], None]


def _encoder(cls: type[Message], each: Field) -> Encoder:
    """Return the function that writes one field. It is chosen once here, so that encoding an object is fast."""
    name, attribute, encode = each.json, each.attribute, each.kind.encode
    if each.inline:
        return lambda message, json: json.update(encode(getattr(message, attribute)))
    if _is_message(cls, attribute):
        return _message_encoder(each)
    if each.when is FILLED:

        def when_filled(message: Any, json: dict[str, Any]) -> None:
            value = encode(getattr(message, attribute))
            if value:
                json[name] = value

        return when_filled

    def always(message: Any, json: dict[str, Any]) -> None:
        json[name] = encode(getattr(message, attribute))

    return always


def _message_encoder(each: Field) -> Encoder:
    name, attribute, encode, when = each.json, each.attribute, each.kind.encode, each.when
    if when is ALWAYS:

        def always(message: Any, json: dict[str, Any]) -> None:
            json[name] = encode(getattr(message, attribute))

        return always

    if when is NONZERO:

        def when_nonzero(message: Any, json: dict[str, Any]) -> None:
            value = encode(getattr(message, attribute))
            if value:
                json[name] = value

        return when_nonzero

    def when_present(message: Any, json: dict[str, Any]) -> None:
        if message.HasField(attribute):
            json[name] = encode(getattr(message, attribute))
        elif when is NULLABLE:
            json[name] = None

    return when_present


def _is_message(cls: type[Message], attribute: str) -> bool:
    described = cls.DESCRIPTOR.fields_by_name[attribute]
    return described.message_type is not None and not described.is_repeated
