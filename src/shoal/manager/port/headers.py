"""Which headers of a call are kept, so that the library below never meets one that it cannot read. Pure.

In: headers as they came from a peer that may send anything. Out: those that can be read, and sent on to the leader.
"""

import re
from collections.abc import Iterable

Headers = list[tuple[str, str]]

# As gRPC has it: eight digits at most. grpclib fails where a number is beyond all floating-point numbers.
_TIMEOUT = re.compile(r"[0-9]{1,8}[HMSmun]")
_NO_TIMEOUT = "none"  # grpclib answers that it is invalid
_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]+")


def readable(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers that can be read; a timeout that is none stays one that is none.

    Metadata that grpclib cannot send again is left out, and so is metadata in base64: no call of ours or of Swarm's has
    any, and grpclib fails on what is not base64.
    """
    kept: Headers = []
    for name, value in headers:
        if name == "grpc-timeout":
            kept.append((name, value if _TIMEOUT.fullmatch(value) else _NO_TIMEOUT))
        elif name.startswith((":", "grpc-")) or (
            _NAME.fullmatch(name) and _VALUE.fullmatch(value) and not name.endswith("-bin")
        ):
            kept.append((name, value))
    return kept
