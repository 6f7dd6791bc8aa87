"""What every test needs before it runs."""

import asyncio

# Python 3.11 makes an event loop when pytest-asyncio asks for the one there was, and nobody closes it: a warning,
# and so an error, in whatever test runs when it is collected. Saying that there is none keeps it from being made.
asyncio.set_event_loop(None)
