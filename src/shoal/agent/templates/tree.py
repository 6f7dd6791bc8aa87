"""A template as a tree. `at` is where a piece begins in the text, in characters; `shown` is how errors name it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """What is passed through as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the template: a string, a number, a truth, or nil."""

    value: str | int | float | bool | None
    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Fields:
    """Names looked up one after the other, from the dot, a variable, or what parentheses give."""

    base: "Dot | Variable | Pipe"
    names: tuple[str, ...]
    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Dot:
    """The value that a template or a block is about."""

    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Variable:
    """`$` or `$name`."""

    name: str
    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """The name of a function. As an operand among others it is called without arguments."""

    name: str
    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Command:
    """An operand, or a function with its arguments."""

    operands: "tuple[Operand, ...]"
    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each of which gets the value of the one before as its last argument.

    `variables` take the last value; they are new ones if `declares`.
    """

    commands: tuple[Command, ...]
    variables: tuple[str, ...]
    declares: bool
    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is printed, unless variables take it."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Block:
    """`if`, `with` or `range`."""

    kind: str
    pipe: Pipe
    body: "tuple[Node, ...]"
    otherwise: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    kind: str


Operand = Constant | Fields | Dot | Variable | Call | Pipe
Node = Text | Action | Block | Jump
