"""Durations, sizes and shares of processors, as Go and Docker write them."""

import re
from decimal import Decimal, InvalidOperation

_NANOS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
    "d": 24 * 3600 * 10**9, "w": 7 * 24 * 3600 * 10**9,
}  # fmt: skip
_DURATION = re.compile(r"(\d{1,19}(?:\.\d{0,19})?|\.\d{1,19})(ns|us|µs|μs|ms|s|m|h|d|w)")
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{0,19})?|\.\d{1,19}) ?([kKmMgGtTpP]?)(?:[iI]?[bB])?\Z")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_LARGEST = 2**63


def nanoseconds(text: str) -> int | None:
    """Return a duration such as `1m30s`, or None if the text is none."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, at = Decimal(0), 0
    while found := _DURATION.match(rest, at):
        total += Decimal(found.group(1)) * _NANOS[found.group(2)]
        at = found.end()
    if not at or at != len(rest) or total >= _LARGEST:
        return None
    return sign * int(total)


def duration(nanos: int) -> str:
    """Return a duration as Go prints it: `1m30s`, `1.5s`, `250ms`."""
    sign, left = ("-", -nanos) if nanos < 0 else ("", nanos)
    if left == 0:
        return "0s"
    if left < 10**9:
        unit, size = next((unit, size) for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)) if left >= size)
        return f"{sign}{_trimmed(Decimal(left) / size)}{unit}"
    minutes, rest = divmod(left, _NANOS["m"])
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_trimmed(Decimal(rest) / 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _trimmed(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def size_bytes(text: str) -> int | None:
    """Return a size such as `64m` or `1.5gb`, in powers of 1024, or None if the text is none."""
    found = _SIZE.match(text.strip())
    if found is None:
        return None
    value = int(Decimal(found.group(1)) * 1024 ** _POWERS[found.group(2).lower()])
    return value if value < _LARGEST else None


def nano_cpus(text: str) -> int | None:
    """Return processors in billionths, or None if the text is no such number."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or value < 0 or value > 10**9:
        return None
    nanos = value * 10**9
    return int(nanos) if nanos == int(nanos) else None


def rounded_number(value: float) -> int | float:
    """Return a whole number as an int, as Go prints it in JSON."""
    return int(value) if value == int(value) and abs(value) < 2**53 else value
