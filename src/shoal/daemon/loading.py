"""Imports aiohttp without what only a client of the web needs, which costs the daemon's start 25 ms.

aiohttp makes TLS contexts for its client as it is imported, one with all of the host's certificate authorities. The
daemon has a server of it, and one client that trusts alone what its swarm names: each makes a context of its own.
"""

import contextlib
import os
from collections.abc import Iterator

# Where OpenSSL looks for authorities, instead of the host's (SSL_CTX_set_default_verify_paths).
_NOWHERE = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}


@contextlib.contextmanager
def no_authorities() -> Iterator[None]:
    """Let TLS contexts that are made in here find no certificate authority; afterwards all is as it was."""
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
