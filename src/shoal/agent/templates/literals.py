"""Reads the numbers, strings and characters of a template. Source: the Go specification, *Lexical elements*."""

import re

MAX_INT = (1 << 63) - 1
MIN_INT = -(1 << 63)
_ESCAPE = re.compile(
    r"\\(?:(?P<short>[abfnrtv\\'\"])|x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})"
    r"|u(?P<four>[0-9a-fA-F]{4})|U(?P<eight>[0-9a-fA-F]{8}))"
)
_SHORT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_INTEGER = re.compile(r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)")
_FRACTION = re.compile(r"[+-]?(?:\d(?:_?\d)*(?:\.(?:\d(?:_?\d)*)?)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?")


def number(text: str) -> int | float | None:
    """Return the value of a number; None if the word is no number. A whole number may be too large for Go."""
    if _INTEGER.fullmatch(text):
        digits = text.lstrip("+-").replace("_", "").lower()
        if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567":
            digits = "0o" + digits
        value = int(digits, 0)
        return -value if text[0] == "-" else value
    if _FRACTION.fullmatch(text):
        fraction = float(text.replace("_", ""))
        return None if fraction in (float("inf"), float("-inf")) else fraction
    return None


def string(quoted: str) -> str | None:
    """Return the value of a quoted string; None if it has an invalid escape.

    Bytes that are not UTF-8 are kept with surrogateescape, as Python does in paths.
    """
    if quoted[0] == "`":
        return quoted[1:-1].replace("\r", "")
    return _unescaped(quoted[1:-1], quoted[0])


def character(quoted: str) -> int | None:
    """Return the code point of a character constant; None unless it holds exactly one character."""
    inner = quoted[1:-1]
    match = _ESCAPE.fullmatch(inner)
    if match is not None and (match["byte"] or match["octal"]):
        value = int(match["byte"], 16) if match["byte"] else int(match["octal"], 8)
        return value if value < 256 else None
    text = _unescaped(inner, "'")
    return ord(text) if text is not None and len(text) == 1 else None


def _unescaped(text: str, quote: str) -> str | None:
    pieces: list[bytes] = []
    at = 0
    while at < len(text):
        if text[at] != "\\":
            end = text.find("\\", at)
            end = len(text) if end < 0 else end
            pieces.append(text[at:end].encode("utf-8", "surrogateescape"))
            at = end
            continue
        match = _ESCAPE.match(text, at)
        piece = None if match is None else _escape(match, quote)
        if match is None or piece is None:
            return None
        pieces.append(piece)
        at = match.end()
    return b"".join(pieces).decode("utf-8", "surrogateescape")


def _escape(match: re.Match[str], quote: str) -> bytes | None:
    if match["short"] is not None:
        if match["short"] in "'\"" and match["short"] != quote:
            return None
        return _SHORT.get(match["short"], match["short"]).encode()
    if match["byte"] is not None:
        return bytes([int(match["byte"], 16)])
    if match["octal"] is not None:
        value = int(match["octal"], 8)
        return bytes([value]) if value < 256 else None
    value = int(match["four"] or match["eight"], 16)
    if value > 0x10FFFF or 0xD800 <= value < 0xE000:
        return None
    return chr(value).encode()
