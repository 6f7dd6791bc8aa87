"""The tree of a template. `at` is the position of a piece in the text, in characters; `shown` is its text in errors."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Text that is printed unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value written in the template: a string, a number, a boolean, or nil."""

    value: str | int | float | bool | None
    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Fields:
    """Names looked up one after the other, starting at the dot, a variable or a pipeline in parentheses."""

    base: "Dot | Variable | Pipe"
    names: tuple[str, ...]
    shown: str
    at: int


@dataclass(frozen=True, slots=True)
class Dot:
    """The dot: the current value of a template or block."""

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
    """The name of a function. When it is an argument of a command, it is called without arguments."""

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

    `variables` get the last value. With `declares` they are new variables.
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
