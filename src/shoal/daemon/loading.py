"""Imports aiohttp without loading the host's certificate authorities. That saves 25 ms of the daemon's start.

When it is imported, aiohttp makes TLS contexts for its client, one of them with all of the host's authorities. The
daemon does not need them: it uses aiohttp as a server, and as one client that only trusts the CA that its swarm names.
Both make contexts of their own.
"""

import contextlib
import os
from collections.abc import Iterator

# Where OpenSSL looks for authorities instead of the host's folders (SSL_CTX_set_default_verify_paths).
_NOWHERE = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}


@contextlib.contextmanager
def no_authorities() -> Iterator[None]:
    """TLS contexts made within this block find no certificate authorities. Afterwards the environment is as before."""
    before = {name: os.environ.get(name) for name in _NOWHERE}
    os.environ.update(_NOWHERE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with no_authorities():
    import aiohttp as aiohttp
