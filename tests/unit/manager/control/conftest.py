import itertools
from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.api.predefined import LABEL
from shoal.manager.control import Control, SoleManager
from shoal.manager.control.root_change import ExternalCAs
from shoal.store.changes import Object
from tests.unit.manager.stores import MemoryStore

NOW = 1_700_000_000.0


def network(name: str, **fields: object) -> api.Network:
    labels = {LABEL: "true"} if name in ("host", "bridge", "none") else {}
    return api.Network(
        id=f"net-{name}",
        spec=api.NetworkSpec(annotations=api.Annotations(name=name, labels=labels), **fields),  # type: ignore[arg-type]
    )


NETWORKS = [network("host"), network("bridge"), network("none"), network("ingress", ingress=True), network("blue")]

Make = Callable[..., tuple[Control, MemoryStore]]


@pytest.fixture
def make() -> Make:
    """Return a function that makes a Control over a store with these objects. The first manager is the node `m1`."""

    def build(*objects: Object, external: ExternalCAs | None = None) -> tuple[Control, MemoryStore]:
        ids = itertools.count(1)
        store = MemoryStore([*NETWORKS, *objects])
        control = Control(
            store,  # type: ignore[arg-type]
            SoleManager("m1", "10.0.0.1:2377"),
            lambda: NOW,
            new_id=lambda: f"id{next(ids)}",
            new_unlock_key=lambda: b"k" * 31 + bytes([next(ids)]),
            external=external,
        )
        return control, store

    return build
