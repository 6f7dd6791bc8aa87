"""Options for which Docker's API has no field: labels `shoal.*` of a service or a node, as checked, typed values.

In: labels. Out: `ServiceOptions` or `NodeOptions`, or InvalidArgument that names the label. Each option is one line in
a table: its name, its field and its parser. All names that begin with `shoal.` belong to Shoal, so a name that is not
in the table is refused when somebody sets it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shoal.errors import InvalidArgument

PREFIX = "shoal."
SHOWN_CHARACTERS = 64  # of a refused text, because a label may be a megabyte long

T = TypeVar("T")
Parse = Callable[[str], Any]


class Malformed(ValueError):
    """A text that an option does not accept. The message says what it accepts."""


def whole(lowest: int, highest: int) -> Parse:
    """Return the parser of a whole number within bounds."""

    def parse(text: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) and lowest <= int(text) <= highest:
            return int(text)
        raise Malformed(f"a whole number from {lowest} to {highest}")

    return parse


def percentage(lowest: float = 0, highest: float = 100) -> Parse:
    """Return the parser of a percentage, `70%` or `12.5%`. Its value is a fraction: 0.7, 0.125."""

    def parse(text: str) -> float:
        if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?%", text, re.ASCII) and lowest <= float(text[:-1]) <= highest:
            return float(text[:-1]) / 100
        raise Malformed(f"a percentage from {lowest:g}% to {highest:g}%")

    return parse


def boolean(text: str) -> bool:
    """Read `true` or `false`."""
    if text in ("true", "false"):
        return text == "true"
    raise Malformed("true or false")


def one_of(*words: str) -> Parse:
    """Return the parser of one of a few words."""

    def parse(text: str) -> str:
        if text in words:
            return text
        raise Malformed(f"{', '.join(words[:-1])} or {words[-1]}")

    return parse


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(h|ms|m|s)", re.ASCII)


def length(lowest: float, highest: float) -> Parse:
    """Return the parser of a duration in the format of Docker's flags, `1m30s` or `1.5s`. Its value is in seconds."""

    def parse(text: str) -> float:
        parts = _LENGTH.findall(text) if len(text) <= SHOWN_CHARACTERS else []
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if parts and "".join(number + unit for number, unit in parts) == text and lowest <= seconds <= highest:
            return seconds
        raise Malformed(f"a duration from {lowest:g}s to {highest:g}s, with its unit (h, m, s, ms)")

    return parse


@dataclass(frozen=True, slots=True)
class Option:
    """One option: the label's name after `shoal.`, the field of its value, and the parser of its text."""

    name: str
    field: str
    parse: Parse


class Options(Generic[T]):
    """The options of one kind of object. `made` is the dataclass of their values; each field has a default."""

    def __init__(self, noun: str, made: type[T], *options: Option) -> None:
        self._noun = noun
        self._made = made
        self._by_label = {PREFIX + option.name: option for option in options}

    def check(self, labels: Mapping[str, str], stored: Mapping[str, str] | None = None) -> None:
        """Raise InvalidArgument for the first `shoal.` label, in alphabetical order, that is malformed or unknown.

        A label that is among `stored` with the same value is accepted. So an object that got it from another version
        of Shoal can still be changed.
        """
        for label in sorted(label for label in labels if label.startswith(PREFIX)):
            if stored is not None and stored.get(label) == labels[label]:
                continue
            option = self._by_label.get(label)
            if option is None:
                raise InvalidArgument(
                    f"label {_short(label)}: {self._noun} has no such option; names that begin with {PREFIX} are "
                    f"Shoal's own{self._known()}"
                )
            try:
                option.parse(labels[label])
            except Malformed as error:
                raise InvalidArgument(f'label {label}: "{_short(labels[label])}" is not {error}') from None

    def read(self, labels: Mapping[str, str]) -> T:
        """Return the values. Unknown and malformed labels, which only another version can have set, are ignored."""
        values: dict[str, Any] = {}
        for label, option in self._by_label.items():
            text = labels.get(label)
            if text is None:
                continue
            try:
                values[option.field] = option.parse(text)
            except Malformed:
                continue
        return self._made(**values)

    def _known(self) -> str:
        return f" ({', '.join(self._by_label)})" if self._by_label else ""


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What labels of a service say.

    `pull`: when a node asks the registry for a task's image; empty: as Docker does. `ingress_source_ip`: its tasks see
    a client's own address by a published port; else that of the node that the client came by, as in Docker.
    """

    pull: str = ""
    ingress_source_ip: bool = True


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """The options of a node. There are none yet."""


PULL_ALWAYS, PULL_MISSING, PULL_NEVER = "always", "missing", "never"

SERVICE = Options(
    "a service",
    ServiceOptions,
    Option("pull", "pull", one_of(PULL_ALWAYS, PULL_MISSING, PULL_NEVER)),
    Option("ingress.source-ip", "ingress_source_ip", boolean),
)
NODE = Options("a node", NodeOptions)
