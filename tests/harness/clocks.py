"""A clock of its own for a host. It can be years off, and be set while the daemon runs.

Linux has no namespace for the time of day. So the daemon's Python gets another `time.time`, and another time by which
OpenSSL checks certificates. The host's other programs use this machine's time; none of them checks certificates.
"""

import os

from tests.harness.hosts import Host

DAY = 86_400
YEAR = 365 * DAY

_CUSTOMIZED = """
import ctypes, os, ssl, time

_file, _now, _wrap = os.environ["SHOAL_TEST_CLOCK"], time.time, ssl.SSLContext.wrap_bio
_crypto = ctypes.CDLL("libssl.so.3")  # which brings libcrypto; the one that Python's ssl has loaded
_crypto.SSL_CTX_get0_param.restype = ctypes.c_void_p
_crypto.SSL_CTX_get0_param.argtypes = [ctypes.c_void_p]
_crypto.X509_VERIFY_PARAM_set_time.argtypes = [ctypes.c_void_p, ctypes.c_long]


def _time():
    with open(_file) as file:
        return _now() + int(file.read())


def _wrap_bio(self, *arguments, **named):
    # Where a PySSLContext keeps its SSL_CTX: right behind what every object begins with.
    context = ctypes.cast(id(self) + object.__basicsize__, ctypes.POINTER(ctypes.c_void_p))[0]
    _crypto.X509_VERIFY_PARAM_set_time(_crypto.SSL_CTX_get0_param(context), int(_time()))
    return _wrap(self, *arguments, **named)


time.time, ssl.SSLContext.wrap_bio = _time, _wrap_bio
"""


class Clock:
    """The clock of one host, from the host's next start on."""

    def __init__(self, host: Host, offset: int = 0) -> None:
        folder = host.folder / "clock"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_CUSTOMIZED)
        self._file = folder / "offset"
        self.set(offset)
        host.environment["PYTHONPATH"] = f"{folder}:{os.environ.get('PYTHONPATH', '')}"
        host.environment["SHOAL_TEST_CLOCK"] = str(self._file)

    def set(self, offset: int) -> None:
        """Make the clock differ from this machine's by this many seconds."""
        new = self._file.with_suffix(".new")
        new.write_text(str(offset))
        new.replace(self._file)
