"""Formats values as Go's fmt does: `print`, `println`, `printf`, and a value alone. Source: fmt's documentation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from shoal.agent.templates.values import Struct, encoded, type_name
from shoal.errors import InvalidArgument

WIDTH_LIMIT = 1_000_000  # fmt's own limit of a width and of a precision
EXPONENT_FROM = 6  # from this power of ten on, a fraction alone is shown with an exponent
_PIECE = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<index>\[[^\]]*\])?(?P<width>\*|\d*)"
    r"(?P<point>\.(?P<at>\[[^\]]*\])?(?P<precision>\*|\d*))?(?P<last>\[[^\]]*\])?(?P<verb>.?)",
    re.DOTALL,
)
_INTEGER_BASES = {"b": "b", "o": "o", "O": "o", "x": "x", "X": "X", "d": "d", "v": "d"}
_PREFIXES = {"b": "0b", "o": "0", "O": "0o", "x": "0x", "X": "0X"}


@dataclass(frozen=True, slots=True)
class _Form:
    """One verb with its flags. `width` and `precision` are None when they are not given."""

    verb: str
    flags: str = ""
    width: int | None = None
    precision: int | None = None

    @property
    def sign(self) -> str:
        return "+" if "+" in self.flags else " " if " " in self.flags else ""

    def padded(self, text: str, *, zeros: bool = True) -> str:
        missing = (self.width or 0) - len(text)
        if missing <= 0:
            return text
        if "-" in self.flags:
            return text + " " * missing
        if not zeros or "0" not in self.flags:
            return " " * missing + text
        if text[:1] in tuple("+- ") and self.verb in "bcdoOxXUeEfFgGv" and text[1:2].isdigit():
            return text[0] + "0" * missing + text[1:]
        return "0" * missing + text


def show(value: object) -> str:
    """Return a value as a template prints it when it stands alone."""
    return "<no value>" if value is None else shown(value)


def shown(value: object) -> str:
    """Return a value as `%v` prints it."""
    return _format(value, _Form("v"))


def sprint(values: Sequence[object]) -> str:
    """Return the values joined, with a space between two values when neither is a string."""
    text = ""
    for place, value in enumerate(values):
        apart = place > 0 and not isinstance(value, str) and not isinstance(values[place - 1], str)
        text += (" " if apart else "") + shown(value)
    return text


def sprintf(form: str, values: Sequence[object]) -> str:
    """Return the values formatted by `form`. A mistake in the form shows in the text, as in Go."""
    arguments = _Arguments(values)
    text = _PIECE.sub(lambda match: _one(match, arguments), form)
    return text + arguments.extra()


class _Arguments:
    """The arguments that `printf` still has to print."""

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values
        self._next = 0
        self._reordered = False
        self.bad_index = False

    def seek(self, index: str | None) -> None:
        """Go to the argument with the number `[n]`, if the form gives one."""
        if index is None:
            return
        self._reordered = True
        inner = index[1:-1]
        if inner.isdecimal() and inner.isascii() and len(inner) < 8 and 1 <= int(inner) <= len(self._values):
            self._next = int(inner) - 1
        else:
            self.bad_index = True

    def number(self, text: str | None) -> tuple[int | None, str]:
        """Return a width or precision, and Go's word for a mistake in it: `BAD`, `NOVERB` or an empty text."""
        if text is None:
            return None, ""
        if text != "*":
            if text and int(text[:9]) > WIDTH_LIMIT:
                return None, "NOVERB"
            return (int(text) if text else None), ""
        if self._next >= len(self._values):
            return None, "BAD"
        value = self._values[self._next]
        self._next += 1
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > WIDTH_LIMIT:
            return None, "BAD"
        return value, ""

    def take(self) -> tuple[bool, object]:
        """Return whether there is another argument, and the argument."""
        if self._next >= len(self._values):
            return False, None
        self._next += 1
        return True, self._values[self._next - 1]

    def extra(self) -> str:
        """Return what Go appends for arguments that no verb used."""
        if self._reordered or self._next >= len(self._values):
            return ""
        rest = self._values[self._next :]
        told = ("<nil>" if value is None else f"{type_name(value)}={shown(value)}" for value in rest)
        return "%!(EXTRA " + ", ".join(told) + ")"


def _one(match: re.Match[str], arguments: _Arguments) -> str:
    verb, flags = match["verb"], match["flags"]
    notes = ""
    arguments.bad_index = False
    arguments.seek(match["index"])
    width, bad = arguments.number(match["width"])
    if bad == "NOVERB":
        raise InvalidArgument("printf: a width is too large")
    notes += "%!(BADWIDTH)" if bad else ""
    if width is not None and width < 0:
        flags, width = flags + "-", -width
    arguments.seek(match["at"])
    precision, bad = arguments.number(match["precision"])
    if bad == "NOVERB":
        raise InvalidArgument("printf: a precision is too large")
    if bad or (precision is not None and precision < 0):
        precision, notes = None, notes + ("%!(BADPREC)" if bad or match["precision"] == "*" else "")
    elif match["point"] and precision is None:
        precision = 0
    arguments.seek(match["last"])
    if not verb:
        return notes + "%!(NOVERB)"
    if verb == "%":
        return notes + "%"
    if arguments.bad_index:
        return f"{notes}%!{verb}(BADINDEX)"
    there, value = arguments.take()
    if not there:
        return f"{notes}%!{verb}(MISSING)"
    return notes + _format(value, _Form(verb, flags, width, precision))


def _format(value: object, form: _Form) -> str:
    if value is None:
        return form.padded("<nil>") if form.verb in "vT" else f"%!{form.verb}(<nil>)"
    if form.verb == "T":
        return _string(type_name(value), replace(form, verb="s"))
    if form.verb == "p" and isinstance(value, Mapping | list) and not isinstance(value, Struct):
        _refuse("%p", value)
    if isinstance(value, bool):
        return form.padded("true" if value else "false") if form.verb in "tv" else _bad(value, form)
    if isinstance(value, str):
        return _string(value, form)
    if isinstance(value, int):
        return _integer(value, form)
    if isinstance(value, float):
        return _fraction(value, form)
    return _compound(value, form)


def _compound(value: object, form: _Form) -> str:
    if "#" in form.flags and form.verb == "v":
        _refuse("%#v", value)
    if isinstance(value, Struct):
        names = "+" in form.flags and form.verb == "v"
        return "{" + " ".join((f"{key}:" if names else "") + _format(each, form) for key, each in value.items()) + "}"
    if isinstance(value, Mapping):
        pairs = (f"{_format(key, form)}:{_format(value[key], form)}" for key in sorted(value, key=encoded))
        return "map[" + " ".join(pairs) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_format(each, form) for each in value) + "]"
    raise InvalidArgument(f"a value of type {type(value).__name__} cannot be printed")


def _string(value: str, form: _Form) -> str:
    verb = "q" if form.verb == "v" and "#" in form.flags else form.verb
    if verb not in "vsxXq":
        return _bad(value, form)
    if verb in "xX":
        data = encoded(value)[: form.precision]
        between, prefix = (" " if " " in form.flags else ""), ("0" + verb if "#" in form.flags and data else "")
        pairs = [f"{byte:02{verb}}" for byte in data]
        text = prefix + between.join(pairs) if not between else " ".join(prefix + pair for pair in pairs)
        return form.padded(text)
    if form.precision is not None:
        value = value[: form.precision]
    if verb == "q":
        backquoted = "#" in form.flags and form.verb == "q" and _can_backquote(value)
        value = f"`{value}`" if backquoted else quoted(value, ascii_only="+" in form.flags and form.verb == "q")
    return form.padded(value)


def _integer(value: int, form: _Form) -> str:
    if form.verb in "cqU":
        return _character(value, form)
    if form.verb not in _INTEGER_BASES:
        return _bad(value, form)
    digits = format(abs(value), _INTEGER_BASES[form.verb])
    if form.precision is not None:
        digits = "" if form.precision == 0 and value == 0 else digits.rjust(form.precision, "0")
    elif "0" in form.flags and "-" not in form.flags and form.width is not None:
        # Go pads with zeros first, so a prefix makes the text longer than the width.
        room = form.width - (1 if value < 0 or form.sign else 0)
        digits = digits.rjust(room, "0")
    if form.verb == "O" or ("#" in form.flags and form.verb in "boxX"):
        prefix = _PREFIXES[form.verb]
        digits = digits if form.verb == "o" and digits.startswith("0") else prefix + digits
    return form.padded(("-" if value < 0 else form.sign) + digits, zeros=False)


def _character(value: int, form: _Form) -> str:
    letter = chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd"
    if form.verb == "c":
        return form.padded(letter)
    if form.verb == "q":
        return form.padded(quoted(letter, mark="'", ascii_only="+" in form.flags))
    if value < 0:
        _refuse("%U", value)
    text = f"U+{value:0{max(4, form.precision or 0)}X}"
    if "#" in form.flags and letter.isprintable() and value <= 0x10FFFF:
        text += f" '{letter}'"
    return form.padded(text, zeros=False)


def _fraction(value: float, form: _Form) -> str:
    if form.verb in "bxX" or ("#" in form.flags and form.verb in "eEfFgGv"):
        _refuse(f"%{'#' if '#' in form.flags else ''}{form.verb}", value)
    if form.verb not in "eEfFgGv":
        return _bad(value, form)
    size = abs(value)
    if form.verb in "eE":
        text = format(size, f".{6 if form.precision is None else form.precision}{form.verb}")
    elif form.verb in "fF":
        text = format(size, f".{6 if form.precision is None else form.precision}f")
    elif form.precision is not None:
        text = format(size, f".{form.precision}g")
    else:
        text = _shortest(size)
    text = text.upper() if form.verb == "G" else text
    negative = value < 0 or str(value).startswith("-")
    return form.padded(("-" if negative else form.sign) + text)


def _shortest(size: float) -> str:
    """Return the shortest text that reads back as this number; with an exponent below 1e-04 and from 1e+06 on."""
    digits, _, exponent = format(size, ".17e").partition("e")
    for precision in range(17):
        digits, _, exponent = format(size, f".{precision}e").partition("e")
        if float(f"{digits}e{exponent}") == size:
            break
    power = int(exponent)
    if power < -4 or power >= EXPONENT_FROM:
        return f"{digits}e{power:+03d}"
    return format(size, f".{max(0, len(digits.replace('.', '')) - 1 - power)}f")


def quoted(text: str, *, mark: str = '"', ascii_only: bool = False) -> str:
    """Return a string or a character quoted as in Go source."""
    named = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", "\\": "\\", mark: mark}
    pieces = []
    for letter in text:
        code = ord(letter)
        if letter in named:
            pieces.append("\\" + named[letter])
        elif 0xDC80 <= code < 0xDD00:
            pieces.append(f"\\x{code - 0xDC00:02x}")
        elif (letter.isprintable() and not ascii_only) or 32 <= code < 127:
            pieces.append(letter)
        elif code < 32 or code == 127:
            pieces.append(f"\\x{code:02x}")
        else:
            pieces.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return mark + "".join(pieces) + mark


def _can_backquote(text: str) -> bool:
    return all(letter == "\t" or (letter.isprintable() and letter not in "`\ufeff") for letter in text)


def _bad(value: object, form: _Form) -> str:
    plain = _format(value, replace(form, verb="v", flags=form.flags.replace("#", "")))
    return f"%!{form.verb}({type_name(value)}={plain})"


def _refuse(verb: str, value: object) -> NoReturn:
    raise InvalidArgument(f"printf: {verb} of a {type_name(value)} is not supported by Shoal")
