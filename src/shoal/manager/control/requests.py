"""What a request of any RPC must give."""

from shoal.errors import InvalidArgument


def require(*given: object) -> None:
    """Raise InvalidArgument in Swarm's bare words where an id, a version or a spec is missing."""
    if not all(given):
        raise InvalidArgument("invalid argument")


def require_id(kind: str, given: object) -> None:
    """Raise InvalidArgument in the words of secrets and configs."""
    if not given:
        raise InvalidArgument(f"{kind} ID must be provided")
