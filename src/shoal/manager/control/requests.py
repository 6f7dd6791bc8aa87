"""Checks that a request has its required fields."""

from shoal.errors import InvalidArgument


def require(*given: object) -> None:
    """Raise InvalidArgument, with SwarmKit's text, if an id, a version or a spec is missing."""
    if not all(given):
        raise InvalidArgument("invalid argument")


def require_id(kind: str, given: object) -> None:
    """Raise InvalidArgument, with SwarmKit's text for secrets and configs, if an id is missing."""
    if not given:
        raise InvalidArgument(f"{kind} ID must be provided")
