"""Decides which images a list shows, and with which of their names. Pure. Source: moby daemon/images/image_list.go.

In: images, newest first, the filters, a way to find images, the time. Out: each chosen image with its names.
"""

import re
from collections.abc import Callable, Sequence

from shoal.engine.container_json import image_config
from shoal.engine.moments import moment
from shoal.engine.requests import Filters
from shoal.errors import InvalidArgument
from shoal.runtime.types import Image

ACCEPTED = frozenset({"before", "dangling", "label", "label!", "reference", "since", "until"})

# Tags and digests to show.
Names = tuple[Sequence[str], Sequence[str]]


def choose(
    images: Sequence[Image], filters: Filters, get: Callable[[str], Image], now: float
) -> list[tuple[Image, Names]]:
    """Return the images that pass the filters.

    Raises InvalidArgument, and NotFound for an unknown `before` or `since`.
    """
    older = [get(ref).created_at for ref in filters.get("before")]
    older += [moment(text, now) for text in filters.get("until")]
    newer = [get(ref).created_at for ref in filters.get("since")]
    patterns = [glob(pattern) for pattern in filters.get("reference")]
    dangling = filters.flag("dangling") if "dangling" in filters else None
    found = []
    for image in images:
        labels = image_config(image).get("Labels") or {}
        if not filters.labels("label", labels) or (filters.get("label!") and filters.labels("label!", labels)):
            continue
        if any(image.created_at >= bound for bound in older) or any(image.created_at <= bound for bound in newer):
            continue
        names = _names(image, patterns)
        if patterns and not (names[0] or names[1]):
            continue
        if dangling is None or _is_dangling(image, dangling):
            found.append((image, names))
    return found


def _is_dangling(image: Image, wanted: bool) -> bool:
    """Return whether an image passes the filter `dangling`.

    An image without a tag is dangling. As in Docker, an image with only a digest passes both ways.
    """
    return not image.repo_tags if wanted else bool(image.repo_tags or image.repo_digests)


def _names(image: Image, patterns: list[re.Pattern[str]]) -> Names:
    if not patterns:
        return image.repo_tags, image.repo_digests
    tags = [tag for tag in image.repo_tags if _named(tag, patterns)]
    return tags, [digest for digest in image.repo_digests if _named(digest, patterns)]


def _named(name: str, patterns: list[re.Pattern[str]]) -> bool:
    return any(pattern.fullmatch(name) or pattern.fullmatch(_repository(name)) for pattern in patterns)


def _repository(name: str) -> str:
    repository = name.partition("@")[0]
    head, colon, tail = repository.rpartition(":")
    return head if colon and "/" not in tail else repository


def glob(pattern: str) -> re.Pattern[str]:
    """Return the expression for a pattern of Go's path.Match, in which a star stops at a slash.

    Raises InvalidArgument for a malformed pattern.
    """
    chunks, at = [""], 0
    while at < len(pattern):
        if pattern[at] == "*":
            chunks.append("")
            at += 1
        elif pattern[at] == "[":
            at, part = _class(pattern, at + 1)
            chunks[-1] += part
        elif pattern[at] == "\\":
            chunks[-1] += re.escape(_at(pattern, at + 1))
            at += 2
        else:
            chunks[-1] += "[^/]" if pattern[at] == "?" else re.escape(pattern[at])
            at += 1
    first, *others = chunks
    if not others:
        return re.compile(first, re.DOTALL)
    # Between two stars the first match is as good as any other. So no backtracking is needed, which could take for
    # ever.
    middle = "".join(f"(?>[^/]*?{chunk})" for chunk in others[:-1])
    return re.compile(f"{first}{middle}[^/]*{others[-1]}", re.DOTALL)


def _class(pattern: str, at: int) -> tuple[int, str]:
    negated = _at(pattern, at) == "^"
    at += negated
    ranges: list[str] = []
    while not ranges or _at(pattern, at) != "]":
        at, low = _character(pattern, at)
        high = low
        if _at(pattern, at) == "-":
            at, high = _character(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")  # an empty range
    inside = "".join(ranges)
    if not inside:
        return at + 1, "." if negated else "(?!)"
    return at + 1, f"[{'^' if negated else ''}{inside}]"


def _character(pattern: str, at: int) -> tuple[int, str]:
    character = _at(pattern, at)
    if character in "-]":
        raise InvalidArgument("syntax error in pattern")
    if character == "\\":
        return at + 2, _at(pattern, at + 1)
    return at + 1, character


def _at(pattern: str, at: int) -> str:
    if at >= len(pattern):
        raise InvalidArgument("syntax error in pattern")
    return pattern[at]
