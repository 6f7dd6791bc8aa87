"""Makes the tree of a template from its words. Source: the documentation of text/template and Go's own errors."""

from collections.abc import Collection

from shoal.agent.templates.lexer import SPACES, Token, tokens
from shoal.agent.templates.literals import MAX_INT, MIN_INT, character, number, string
from shoal.agent.templates.mistakes import parse_error
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
from shoal.errors import InvalidArgument

NESTING_LIMIT = 32  # deeper nesting is refused: it can only be a mistake or an attack
_BEGINS_COMMAND = frozenset(
    {"string", "raw", "char", "number", "field", "dot", "variable", "word", "nil"}
)  # and an opening parenthesis


def parse(text: str, functions: Collection[str]) -> tuple[Node, ...]:
    """Return the tree. Raises InvalidArgument, with the line, for a text that is no valid template."""
    return _Parser(text, functions).template()


class _Parser:
    def __init__(self, text: str, functions: Collection[str]) -> None:
        self._text = text
        self._functions = functions
        self._tokens = list(tokens(text))
        self._next = 0
        self._variables = ["$"]
        self._depth = 0
        self._ranges = 0

    def template(self) -> tuple[Node, ...]:
        nodes, last = self._nodes()
        if last.kind != "eof":
            raise self._error(f"unexpected {{{{{last.kind}}}}}", last)
        return nodes

    # -- words

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _skip_space(self) -> Token:
        while self._peek().kind == "space":
            self._next += 1
        return self._peek()

    def _error(self, reason: str, token: Token) -> InvalidArgument:
        return parse_error(self._text, token.at, reason)

    def _unexpected(self, token: Token, context: str) -> InvalidArgument:
        shown = f"<{token.text}>" if token.kind in {"field", "dot"} or token.kind == token.text else f'"{token.text}"'
        return self._error(f"unexpected {shown} in {context}", token)

    def _shown(self, at: int) -> str:
        """Return the text from `at` to the next word, as errors show it."""
        end = self._tokens[self._next].at
        return self._text[at:end].strip(SPACES)

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > NESTING_LIMIT:
            raise self._error("it is nested too deep", token)

    # -- blocks

    def _nodes(self) -> tuple[tuple[Node, ...], Token]:
        """Read up to an `end`, an `else` or the end of the text, and return that too. The `}}` of an `end` is read."""
        nodes: list[Node] = []
        while True:
            token = self._take()
            if token.kind == "eof":
                return tuple(nodes), token
            if token.kind == "text":
                nodes.append(Text(token.text))
                continue
            keyword = self._skip_space()
            if keyword.kind in {"end", "else"}:
                self._next += 1
                if keyword.kind == "end":
                    self._close("end")
                return tuple(nodes), keyword
            nodes.append(self._action(keyword))

    def _action(self, keyword: Token) -> Node:
        if keyword.kind in {"if", "with", "range"}:
            self._next += 1
            return self._block(keyword)
        if keyword.kind in {"break", "continue"}:
            self._next += 1
            if not self._ranges:
                raise self._error(f"{{{{{keyword.kind}}}}} outside {{{{range}}}}", keyword)
            self._close(keyword.kind)
            return Jump(keyword.kind)
        if keyword.kind in {"define", "template", "block"}:
            raise self._error(f"{{{{{keyword.kind}}}}} is not supported by Shoal: no template can be named", keyword)
        return Action(self._pipe("command", "right"))

    def _close(self, context: str) -> None:
        token = self._skip_space()
        if token.kind != "right":
            raise self._unexpected(token, context)
        self._next += 1

    def _block(self, keyword: Token) -> Block:
        self._deeper(keyword)
        known = len(self._variables)
        pipe = self._pipe(keyword.kind, "right")
        self._ranges += keyword.kind == "range"
        body, last = self._nodes()
        self._ranges -= keyword.kind == "range"
        otherwise: tuple[Node, ...] = ()
        if last.kind == "else":
            otherwise, last = self._else(keyword)
        if last.kind == "eof":
            raise self._error("unexpected EOF", last)
        if last.kind == "else":
            raise self._error("expected end; found {{else}}", last)
        del self._variables[known:]
        self._depth -= 1
        return Block(keyword.kind, pipe, body, otherwise)

    def _else(self, keyword: Token) -> tuple[tuple[Node, ...], Token]:
        """Read what follows an `else`. One `end` closes both the block and its `else if` or `else with`."""
        following = self._skip_space()
        if following.kind == keyword.kind and keyword.kind in {"if", "with"}:
            self._next += 1
            return (self._block(following),), Token("end", "end", following.at)
        self._close("else")
        return self._nodes()

    # -- expressions

    def _pipe(self, context: str, closing: str) -> Pipe:
        """Read a pipeline and its `closing`, which is a right delimiter or a parenthesis."""
        first = self._skip_space()
        self._deeper(first)
        variables, declares = self._assigned(context)
        commands: list[Command] = []
        while True:
            token = self._skip_space()
            if token.kind == closing or (closing == "mark" and token.text == ")"):
                break
            if token.kind not in _BEGINS_COMMAND and token.text != "(":
                raise self._unexpected(token, context)
            commands.append(self._command())
        if not commands:
            raise self._error(f"missing value for {context}", token)
        for place, command in enumerate(commands[1:], 2):
            if isinstance(command.operands[0], Constant | Dot):
                raise self._error(f"non executable command in pipeline stage {place}", token)
        pipe = Pipe(tuple(commands), variables, declares, self._shown(first.at), first.at)
        self._next += 1
        self._depth -= 1
        if declares:
            self._variables.extend(variables)
        return pipe

    def _assigned(self, context: str) -> tuple[tuple[str, ...], bool]:
        """Read `$x :=`, `$x =` or, for a range, `$x, $y :=`, if a pipeline begins with one of these."""
        begin = self._next
        names: list[str] = []
        while self._skip_space().kind == "variable":
            token = self._take()
            names.append(token.text)
            mark = self._skip_space()
            if mark.kind == "declare" or mark.text == "=":
                self._next += 1
                declares = mark.kind == "declare"
                for name in names:
                    if not declares:
                        self._require_variable(name, token)
                return tuple(names), declares
            if mark.text != ",":
                break
            if context != "range" or len(names) == 2:
                raise self._error(f"too many declarations in {context}", mark)
            self._next += 1
        self._next = begin
        return (), False

    def _require_variable(self, name: str, token: Token) -> None:
        if name not in self._variables:
            raise self._error(f'undefined variable "{name}"', token)

    def _command(self) -> Command:
        first = self._peek()
        operands: list[Operand] = []
        while True:
            self._skip_space()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            token = self._peek()
            if token.kind == "space":
                continue
            shown = self._shown(first.at)
            if token.text == "|":
                self._next += 1
            elif token.kind != "right" and token.text != ")":
                raise self._unexpected(token, "operand")
            return Command(tuple(operands), shown, first.at)

    def _operand(self) -> Operand | None:
        begin = self._peek()
        term = self._term()
        if term is None or self._peek().kind != "field":
            if term is not None and self._peek().kind == "dot":
                raise self._unexpected(self._peek(), "operand")
            return term
        token = self._peek()
        if isinstance(term, Constant | Call):
            shown = term.shown.replace('"', '\\"')
            raise self._error(f'unexpected . after term "{shown}"', token)
        base, names = (term.base, term.names) if isinstance(term, Fields) else (term, ())
        while self._peek().kind == "field":
            names += (self._take().text[1:],)
        if self._peek().kind == "dot":
            raise self._unexpected(self._peek(), "operand")
        shown = self._shown(begin.at)
        return Fields(base, names, shown, begin.at)

    def _term(self) -> Operand | None:
        token = self._peek()
        kind, text, at = token.kind, token.text, token.at
        if kind not in _BEGINS_COMMAND and text != "(":
            return None
        self._next += 1
        if kind == "field":
            return Fields(Dot(".", at), (text[1:],), text, at)
        if kind == "dot":
            return Dot(text, at)
        if kind == "variable":
            self._require_variable(text, token)
            return Variable(text, text, at)
        if text == "(":
            return self._pipe("parenthesized pipeline", "mark")
        if kind == "word" and text not in {"true", "false"}:
            if text not in self._functions:
                raise self._error(f'function "{text}" not defined', token)
            return Call(text, text, at)
        return Constant(self._constant(token), text, at)

    def _constant(self, token: Token) -> str | int | float | bool | None:
        text = token.text
        value: str | int | float | None
        if token.kind == "nil":
            return None
        if token.kind == "word":
            return text == "true"
        if token.kind == "char":
            value = character(text)
            if value is None:
                raise self._error(f"malformed character constant: {text}", token)
            return value
        if token.kind == "number":
            value = number(text)
            if value is None:
                raise self._error(f'bad number syntax: "{text}"', token)
            if isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
                raise self._error(f"{text} overflows int", token)
            return value
        value = string(text)
        if value is None:
            raise self._error("invalid syntax", token)
        return value
