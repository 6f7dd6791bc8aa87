"""How whoever has a container made or started hears that it waits for something slow, such as a file server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

Waits = Callable[[str], AbstractAsyncContextManager[None]]
"""A context around each such wait, entered with words that say for what. Whoever limits how much is done at once may
let others go ahead meanwhile."""


@asynccontextmanager
async def silently(_words: str) -> AsyncIterator[None]:
    """Wait, and tell nobody."""
    yield
