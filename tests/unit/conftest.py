"""What every unit test begins with."""

import pytest

from shoal.engine import swarm_events
from shoal.manager.logs import server as logs_server
from shoal.manager.port import guard, wire
from shoal.repeats import Repeats


@pytest.fixture(autouse=True)
def _no_line_was_logged_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal lines are logged the 1st, 10th, ... time, whichever test of this process made them."""
    for module in (guard, logs_server, swarm_events, wire):
        monkeypatch.setattr(module, "_told", Repeats(module.log))
