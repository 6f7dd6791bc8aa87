"""Reads instants in filters (`24h` ago, `2024-05-01T12:00`, seconds since 1970), and filters that all prunes share.

Source: moby daemon/internal/timestamp (Parse), Go's time.ParseDuration, daemon/prune.go.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from shoal.engine.requests import Filters
from shoal.errors import InvalidArgument

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_PART.pattern})+")
_SECONDS = re.compile(r"-?[0-9]{1,11}(?:\.[0-9]*)?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}(?::[0-9]{2}){0,2}(?:\.[0-9]+)?)?(?:[zZ]|[+-][0-9]{2}:[0-9]{2})?"
)
_MAX_TEXT = 64


def moment(text: str, now: float) -> float:
    """Return the instant that a text means, in seconds since 1970. Raises InvalidArgument."""
    shown = text.strip()
    if not shown:
        raise InvalidArgument("failed to parse value as time or duration: value is empty")
    if len(shown) <= _MAX_TEXT:
        if _SECONDS.fullmatch(shown):
            return float(shown)
        if _DURATION.fullmatch(shown):
            length = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(shown))
            return now + length if shown.startswith("-") else now - length
        if _DATE.fullmatch(shown):
            return _date(shown)
    raise InvalidArgument(f'failed to parse value as time or duration: invalid timestamp "{text}"')


def _date(text: str) -> float:
    # Python 3.11 does not read an hour without minutes, or more digits than microseconds.
    cut = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text.upper())
    cut = re.sub(r"(T[0-9]{2})(?=$|[Z+-])", r"\1:00", cut)
    cut = re.sub(r"^([0-9-]{10})(?=$|[Z+-])", r"\1T00:00", cut)
    try:
        at = datetime.fromisoformat(cut.replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidArgument(f'parsing time "{text}": {error}') from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def until(filters: Filters, now: float) -> float | None:
    """Return the instant of the filter `until`, or None without it. Raises InvalidArgument, also for more than one."""
    values = filters.get("until")
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    return moment(values[0], now) if values else None


def labels_match(filters: Filters, labels: Mapping[str, str]) -> bool:
    """Return whether labels pass the filters `label` and `label!`."""
    if not filters.labels("label", labels):
        return False
    return not filters.get("label!") or not filters.labels("label!", labels)
