"""The kernel's settings for a network namespace."""

from pathlib import Path

from shoal.errors import ShoalError

_FOLDER = Path("/proc/sys/net")


def set_sysctl(name: str, value: str) -> None:
    """Set a value of the namespace that the thread is in. Blocking; ShoalError."""
    path = _FOLDER / name
    try:
        if path.read_text().strip() != value:  # where /proc/sys is read-only, the value that is there may do
            path.write_text(value)
    except OSError as error:
        raise ShoalError(f"cannot set {path} to {value}: {error.strerror}") from error
