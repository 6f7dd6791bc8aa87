"""Carries out the tree of a template: values in, text out. Source: the documentation of Go's text/template."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shoal.agent.templates.mistakes import exec_error
from shoal.agent.templates.printf import show, shown
from shoal.agent.templates.tree import (
    Action,
    Block,
    Call,
    Command,
    Constant,
    Dot,
    Fields,
    Jump,
    Node,
    Operand,
    Pipe,
    Text,
    Variable,
)
from shoal.agent.templates.values import Struct, encoded, is_true, type_name
from shoal.errors import InvalidArgument

# A template is a user's text that runs on every node of its service. Both limits are far above any honest need.
STEPS_LIMIT = 100_000
OUTPUT_LIMIT_CHARACTERS = 4 * 1024 * 1024

Function = Callable[..., object]


class Execution:
    """One expansion of a template."""

    def __init__(self, text: str, values: Struct, functions: Mapping[str, Function]) -> None:
        self._text = text
        self._functions = functions
        self._variables: list[tuple[str, object]] = [("$", values)]
        self._values = values
        self._steps = 0
        self._size = 0

    def run(self, nodes: Iterable[Node]) -> str:
        """Return the text. Raises InvalidArgument, with line and column, for a tree that cannot be carried out."""
        pieces: list[str] = []
        self._walk(nodes, self._values, pieces)
        return "".join(pieces)

    def _walk(self, nodes: Iterable[Node], dot: object, pieces: list[str]) -> str:
        """Append what the nodes print. Return the jump that ended them: `break`, `continue` or an empty text."""
        for node in nodes:
            if isinstance(node, Text):
                self._print(node.text, pieces)
            elif isinstance(node, Action):
                value = self._pipe(node.pipe, dot)
                if not node.pipe.variables:
                    self._print(show(value), pieces)
            elif isinstance(node, Jump):
                return node.kind
            else:
                known = len(self._variables)
                jump = self._block(node, dot, pieces)
                del self._variables[known:]
                if jump:
                    return jump
        return ""

    def _print(self, text: str, pieces: list[str]) -> None:
        self._size += len(text)
        if self._size > OUTPUT_LIMIT_CHARACTERS:
            raise InvalidArgument(f"template: it expands to more than {OUTPUT_LIMIT_CHARACTERS} characters")
        pieces.append(text)

    def _block(self, block: Block, dot: object, pieces: list[str]) -> str:
        if block.kind == "range":
            return self._range(block, dot, pieces)
        value = self._pipe(block.pipe, dot)
        if not is_true(value):
            return self._walk(block.otherwise, dot, pieces)
        return self._walk(block.body, value if block.kind == "with" else dot, pieces)

    def _range(self, block: Block, dot: object, pieces: list[str]) -> str:
        pipe = block.pipe
        known = len(self._variables)
        value = self._pipe(pipe, dot, sets=False)
        items = self._items(value, pipe)
        if pipe.declares:
            self._variables.extend((name, None) for name in pipe.variables)
        inside = len(self._variables)
        ran = False
        for key, item in items:
            ran = True
            self._step(pipe)
            names = pipe.variables
            if len(names) == 1:
                self._set(names[0], item)
            elif names:
                self._set(names[0], key)
                self._set(names[1], item)
            jump = self._walk(block.body, item, pieces)
            del self._variables[inside:]
            if jump == "break":
                break
        if not ran:
            del self._variables[known:]
            return self._walk(block.otherwise, dot, pieces)
        return ""

    def _items(self, value: object, pipe: Pipe) -> Iterable[tuple[object, object]]:
        if isinstance(value, Mapping) and not isinstance(value, Struct):
            return [(key, value[key]) for key in sorted(value, key=encoded)]
        if isinstance(value, list):
            return list(enumerate(value))
        if value is None:
            return []
        if isinstance(value, int) and not isinstance(value, bool) and len(pipe.variables) < 2:
            return ((number, number) for number in range(value))
        last = pipe.commands[-1]
        raise self._error(last, f"range can't iterate over {shown(value)}")

    def _set(self, name: str, value: object) -> None:
        for place in range(len(self._variables) - 1, -1, -1):
            if self._variables[place][0] == name:
                self._variables[place] = (name, value)
                return

    def _step(self, node: "Command | Pipe") -> None:
        self._steps += 1
        if self._steps > STEPS_LIMIT:
            raise self._error(node, f"it takes more than {STEPS_LIMIT} steps")

    def _error(self, node: "Operand | Command", reason: str) -> InvalidArgument:
        return exec_error(self._text, node.at, node.shown, reason)

    def _pipe(self, pipe: Pipe, dot: object, *, sets: bool = True) -> object:
        value: object = None
        for place, command in enumerate(pipe.commands):
            value = self._command(command, dot, (value,) if place else ())
        if sets and pipe.declares:
            self._variables.extend((name, value) for name in pipe.variables)
        elif sets:
            for name in pipe.variables:
                self._set(name, value)
        return value

    def _command(self, command: Command, dot: object, piped: tuple[object, ...]) -> object:
        self._step(command)
        first, *rest = command.operands
        if isinstance(first, Call):
            return self._call(first, command, rest, dot, piped)
        if isinstance(first, Constant) and first.value is None:
            raise self._error(first, "nil is not a command")
        if rest or piped:
            if isinstance(first, Fields):
                raise self._error(first, f"{first.names[-1]} has arguments but cannot be invoked as function")
            raise self._error(first, f"can't give argument to non-function {first.shown}")
        return self._operand(first, dot)

    def _call(
        self, call: Call, command: "Command | Call", rest: "list[Operand]", dot: object, piped: tuple[object, ...]
    ) -> object:
        signature = _Signature.of(self._functions[call.name])
        given = len(rest) + len(piped)
        if given < signature.least or (signature.rest is None and given > signature.least):
            wanted = f"at least {signature.least}" if signature.rest is not None else f"{signature.least}"
            raise self._error(call, f"wrong number of args for {call.name}: want {wanted} got {given}")
        if call.name in {"and", "or"}:
            return self._choose(call.name, rest, dot, piped)
        arguments = (*(self._operand(operand, dot) for operand in rest), *piped)
        for place, value in enumerate(arguments):
            if not isinstance(value, str) and signature.wants_string(place):
                operand = rest[place] if place < len(rest) else command
                reason = f"wrong type for value; expected string; got {type_name(value)}"
                if isinstance(operand, Constant) and value is not None:
                    reason = f"expected string; found {operand.shown}"
                raise self._error(operand, reason)
        try:
            return self._functions[call.name](*arguments)
        except InvalidArgument as error:
            raise self._error(command, f"error calling {call.name}: {error}") from error

    def _choose(self, name: str, rest: "list[Operand]", dot: object, piped: tuple[object, ...]) -> object:
        value: object = None
        for operand in rest:
            value = self._operand(operand, dot)
            if is_true(value) == (name == "or"):
                return value
        return piped[0] if piped else value

    def _operand(self, operand: Operand, dot: object) -> object:
        if isinstance(operand, Constant):
            return operand.value
        if isinstance(operand, Dot):
            return dot
        if isinstance(operand, Variable):
            return next(value for name, value in reversed(self._variables) if name == operand.name)
        if isinstance(operand, Pipe):
            return self._pipe(operand, dot)
        if isinstance(operand, Call):
            self._steps += 1
            return self._call(operand, operand, [], dot, ())
        value = self._operand(operand.base, dot)
        for name in operand.names:
            value = self._field(operand, value, name)
        return value

    def _field(self, operand: Fields, value: object, name: str) -> object:
        if isinstance(value, Mapping) and name in value:
            return value[name]
        if isinstance(value, Mapping) and not isinstance(value, Struct):
            raise self._error(operand, f'map has no entry for key "{name}"')
        raise self._error(operand, f"can't evaluate field {name} in type {type_name(value)}")


@dataclass(frozen=True, slots=True)
class _Signature:
    """The parameters of a function: for each named one whether it must be a string, and the same for `*rest`.

    `rest` is None when the function has no `*rest`.
    """

    strings: tuple[bool, ...]
    rest: bool | None

    @property
    def least(self) -> int:
        return len(self.strings)

    def wants_string(self, place: int) -> bool:
        return self.strings[place] if place < len(self.strings) else bool(self.rest)

    @classmethod
    def of(cls, function: Function) -> "_Signature":
        parameters = inspect.signature(function).parameters.values()
        named = (parameter for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD)
        rest = [parameter.annotation is str for parameter in parameters if parameter.kind is parameter.VAR_POSITIONAL]
        return cls(tuple(parameter.annotation is str for parameter in named), rest[0] if rest else None)
