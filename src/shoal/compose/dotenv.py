"""Files of variables: `.env`, and what `env_file` names, as Docker's compose program reads them.

A line is NAME=VALUE or NAME: VALUE, or a NAME alone for the value of the surroundings. A value in single quotes is
taken as it is; one in double quotes may have escapes and `${VARIABLES}`, one without quotes has `${VARIABLES}` and ends
before ` #`. Quoted values may have several lines.
"""

import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field

from shoal.compose.errors import ComposeError, Place
from shoal.compose.interpolation import BadTemplate, Variables, substitute

MAX_BYTES = 1024 * 1024
_BLANK = " \t\v\f\r\x85\xa0"  # a space that does not end the line
_SPACE = re.compile(r"\s*")
_EXPORT = re.compile(r"export\s+")
_KEY = re.compile(r"[^=:\n]*")
_ESCAPE = re.compile(r'\\(?:([abcfnrtv$"\\])|0([0-7]{1,3}))')
_ESCAPED = {"a": "\a", "b": "\b", "c": "\\c", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPED |= {"$": "$$", '"': '"', "\\": "\\"}


def parse(
    content: bytes, file: str, surroundings: Mapping[str, str], earlier: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables of a file, with those of `earlier` files.

    Where a value names a variable, `surroundings` count more than the files.

    Raises ComposeError.
    """
    if len(content) > MAX_BYTES:
        raise ComposeError(Place(file), "", f"has {len(content):,} bytes, and may have {MAX_BYTES:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ComposeError(Place(file, line), "", "is not UTF-8 text") from error
    return _Parser(text, file, dict(surroundings), found=dict(earlier or {})).parse()


def raw(content: bytes, file: str) -> dict[str, str]:
    """Return the variables of a file with `format: raw`: each value as it is, to the end of its line."""
    found: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").split("\n"), 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals or " " in name:
            raise ComposeError(Place(file, number), name[:40], "is no variable: write NAME=VALUE")
        found[name] = value
    return found


@dataclass(slots=True)
class _Parser:
    text: str
    file: str
    surroundings: dict[str, str]
    at: int = 0
    found: dict[str, str] = field(default_factory=dict)
    left: int = 4 * MAX_BYTES

    def parse(self) -> dict[str, str]:
        while self._to_statement():
            name, has_value = self._name()
            if has_value:
                self.found[name] = self._value()
            elif name in self.surroundings:
                self.found[name] = self.surroundings[name]
        return self.found

    def _wrong(self, key: str, text: str) -> ComposeError:
        line = self.text.count("\n", 0, self.at) + 1
        return ComposeError(Place(self.file, line), key[:40], text)

    def _to_statement(self) -> bool:
        while True:
            space = _SPACE.match(self.text, self.at)
            self.at = space.end() if space else self.at
            if not self.text.startswith("#", self.at):
                return self.at < len(self.text)
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end

    def _name(self) -> tuple[str, bool]:
        if exported := _EXPORT.match(self.text, self.at):
            self.at = exported.end()
        found = _KEY.match(self.text, self.at)
        assert found is not None
        name = found.group().rstrip()
        wrong = next((letter for letter in name if not (letter.isalnum() or letter in "_.-[]")), None)
        if wrong is not None:
            what = "a space" if wrong.isspace() else repr(wrong)
            raise self._wrong(name, f"a variable's name cannot have {what}")
        separator = self.text[found.end() : found.end() + 1]
        if not name:
            raise self._wrong("", f"there is no name before {separator!r}")
        self.at = found.end() + 1
        return name, separator in ("=", ":")

    def _value(self) -> str:
        while self.text[self.at : self.at + 1] and self.text[self.at] in _BLANK:
            self.at += 1
        quote = self.text[self.at : self.at + 1]
        if quote and quote in "'\"":
            return self._quoted(quote)
        end = self.text.find("\n", self.at)
        line = self.text[self.at :] if end < 0 else self.text[self.at : end]
        value = self._expanded(line.partition(" #")[0].rstrip())
        self.at = len(self.text) if end < 0 else end + 1
        return value

    def _quoted(self, quote: str) -> str:
        closing = re.compile(rf"(?:[^\\{quote}]|\\.)*+{quote}", re.DOTALL).match(self.text, self.at + 1)
        if closing is None:
            raise self._wrong(quote, "the quoted value does not end")
        # A backslash before the quote is gone; any other one stays.
        inside = re.sub(rf"\\({quote})", r"\1", closing.group()[:-1])
        value = self._expanded(_ESCAPE.sub(_escape, inside)) if quote == '"' else inside
        self.at = closing.end()
        return value

    def _expanded(self, value: str) -> str:
        variables = Variables(ChainMap(self.surroundings, self.found), left=self.left)
        try:
            expanded = substitute(value, variables)
        except BadTemplate as error:
            raise self._wrong("", str(error)) from error
        self.left = variables.left
        return expanded


def _escape(found: re.Match[str]) -> str:
    letter, octal = found.groups()
    return _ESCAPED[letter] if letter else chr(int(octal, 8))
