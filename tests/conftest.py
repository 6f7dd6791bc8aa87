"""What every test needs before it runs."""

import asyncio
from collections.abc import Generator

import pytest

from tests.harness.network import LIVE

# Python 3.11 makes an event loop when pytest-asyncio asks for the one there was, and nobody closes it: a warning,
# and so an error, in whatever test runs when it is collected. Saying that there is none keeps it from being made.
asyncio.set_event_loop(None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", log) for network in LIVE for name, log in network.logs()]
    return report
