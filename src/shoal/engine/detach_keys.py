"""The keys that detach from a terminal and leave the process running: ctrl-p ctrl-q, or those of the request. Pure.

Source: moby/term ascii.go, proxy.go.
"""

from shoal.errors import InvalidArgument

DEFAULT = b"\x10\x11"

_CONTROLS = {f"ctrl-{chr(code + 64).lower()}": code for code in range(32)}


def parse(keys: str, refusal: str) -> bytes:
    """Return the bytes of keys like `ctrl-a,b,DEL`; none for an empty text.

    Raises InvalidArgument with the text `refusal`, where `%s` stands for the keys.
    """
    if not keys:
        return b""
    codes = bytearray()
    for key in keys.split(","):
        if len(key) == 1:
            codes += key.encode("utf-8", "replace")[:1]
        elif key in _CONTROLS:
            codes.append(_CONTROLS[key])
        elif key == "DEL":
            codes.append(127)
        else:
            raise InvalidArgument(refusal.replace("%s", keys))
    return bytes(codes)


class DetachFilter:
    """Looks for the keys in a user's input. Bytes that may begin the keys are held back until more bytes come."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys or DEFAULT
        self._held = 0  # how many of the keys were typed so far

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return the bytes for the process, and whether the keys were typed. Bytes after the keys are dropped."""
        passed = bytearray()
        for at in range(len(data)):
            byte = data[at : at + 1]
            if byte == self._keys[self._held : self._held + 1]:
                self._held += 1
                if self._held == len(self._keys):
                    self._held = 0
                    return bytes(passed), True
                continue
            passed += self._keys[: self._held]
            # A byte that does not continue the keys may begin them again.
            self._held = int(byte == self._keys[:1])
            if not self._held:
                passed += byte
        return bytes(passed), False
