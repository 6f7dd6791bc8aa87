"""Splits a template into text and the words between `{{` and `}}`. Source: the documentation of text/template."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shoal.agent.templates.mistakes import parse_error

SPACES = " \t\r\n"
KEYWORDS = frozenset({"if", "else", "end", "range", "with", "break", "continue", "define", "template", "block", "nil"})

# The order matters. Everything that begins like a number is a number here; `parser` decides whether it is valid.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<string>"(?:\\.|[^"\\\n])*")|(?P<raw>`[^`]*`)|(?P<char>'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<number>[+-]?(?=\.?[0-9])(?:0[xX][0-9a-fA-F_]*|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]+)?)\w*)|(?P<field>\.[^\W\d]\w*)|(?P<dot>\.)"""
    r"""|(?P<variable>\$\w*)|(?P<word>[^\W\d]\w*)|(?P<declare>:=)|(?P<mark>[()|=,])"""
)
_UNTERMINATED = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
}
# The characters that may follow a field, a variable or a word directly.
_ENDS = frozenset(SPACES + ".,|:()=")


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a template. `at` is its position in the text, in characters."""

    kind: str  # text, left, right, eof, or the name of a group above; a keyword's kind is its own name
    text: str
    at: int


def tokens(text: str) -> Iterator[Token]:
    """Split a template. Raises InvalidArgument at a place where no word can be read."""
    at = 0
    trim = False
    while True:
        left = text.find("{{", at)
        literal = text[at:] if left < 0 else text[at:left]
        literal = literal.lstrip(SPACES) if trim else literal
        if left < 0:
            yield Token("text", literal, at)
            yield Token("eof", "", len(text))
            return
        inside = left + 2
        if text.startswith("-", inside) and text[inside + 1 : inside + 2] in tuple(SPACES):
            literal, inside = literal.rstrip(SPACES), inside + 2
        yield Token("text", literal, at)
        if text.startswith("/*", inside):
            at, trim = _comment(text, inside)
            continue
        yield Token("left", "{{", left)
        for token in _inside(text, inside):
            yield token
        at = token.at + len(token.text)
        trim = token.text != "}}"


def _comment(text: str, at: int) -> tuple[int, bool]:
    end = text.find("*/", at)
    if end < 0:
        raise parse_error(text, at, "unclosed comment")
    for close in ("}}", *(f"{space}-}}}}" for space in SPACES)):
        if text.startswith(close, end + 2):
            return end + 2 + len(close), close != "}}"
    raise parse_error(text, end, "comment ends before closing delimiter")


def _inside(text: str, at: int) -> Iterator[Token]:
    while True:
        if text.startswith("}}", at):
            yield Token("right", "}}", at)
            return
        if text[at : at + 1] in tuple(SPACES) and text.startswith("-}}", at + 1):
            yield Token("right", text[at : at + 4], at)
            return
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise parse_error(text, at, _trouble(text, at))
        kind, word = match.lastgroup, match[0]
        if kind == "space" and text.startswith("-}}", match.end()):
            word = word[:-1]  # the last space belongs to the delimiter
            if not word:
                continue
        if kind in {"field", "variable", "word"}:
            following = text[match.end() : match.end() + 1]
            if following and following not in _ENDS and not text.startswith("}}", match.end()):
                reason = f"bad character U+{ord(following):04X} {following!r}"
                raise parse_error(text, match.end(), reason)
        yield Token(word if word in KEYWORDS and kind == "word" else kind, word, at)
        at += len(word)


def _trouble(text: str, at: int) -> str:
    mark = text[at : at + 1]
    if mark in _UNTERMINATED:
        return _UNTERMINATED[mark]
    if not mark:
        return "unclosed action"
    if mark == ":":
        return "expected :="
    return f'unexpected "{mark}" in command'
