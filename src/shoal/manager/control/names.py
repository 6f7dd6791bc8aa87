"""Checks the names of objects. Source of the rules and texts: SwarmKit manager/controlapi/common.go."""

import re

from shoal.api import v1 as api
from shoal.errors import InvalidArgument

NAME_LENGTH = 63  # characters, the limit of a DNS label
SECRET_NAME_LENGTH = 64

# Docker's own expression would backtrack exponentially in Python. This one accepts the same names: a letter or digit at
# both ends, and `-` and `_` also between.
_DNS_NAME = re.compile(r"[a-zA-Z0-9](?:[-_a-zA-Z0-9]*[a-zA-Z0-9])?")
_SECRET_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?")


def validate_annotations(annotations: api.Annotations) -> None:
    """Raise InvalidArgument unless a service or a network may have this name."""
    if not annotations.name:
        raise InvalidArgument("meta: name must be provided")
    if not _DNS_NAME.fullmatch(annotations.name):
        raise InvalidArgument("name must be valid as a DNS name component")
    if len(annotations.name) > NAME_LENGTH:
        raise InvalidArgument("name must be 63 characters or fewer")


def validate_secret_annotations(annotations: api.Annotations) -> None:
    """Raise InvalidArgument unless a secret or a config may have this name."""
    if not annotations.name:
        raise InvalidArgument("name must be provided")
    if len(annotations.name) > SECRET_NAME_LENGTH or not _SECRET_NAME.fullmatch(annotations.name):
        raise InvalidArgument(
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, "
            "and the start and end character must be [a-zA-Z0-9]"
        )
