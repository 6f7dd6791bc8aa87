"""This host's networks that are nothing but a configuration (`docker network create --config-only`), in a file.

They have no interface and no address. A network of the swarm whose driver is each node's own names one, and so may have
another subnet or another parent interface on each node. Source: libnetwork's network.go (`validateConfiguration`).
"""

import asyncio
import json
import secrets
import time
from pathlib import Path

from google.protobuf.message import DecodeError

from shoal.api import v1 as api
from shoal.errors import DamagedState
from shoal.files import write_atomic
from shoal.network.types import LocalNetwork


class Configurations:
    """Those of one host. What is changed is in the file before a call returns."""

    def __init__(self, file: Path) -> None:
        """DamagedState where the file is there and cannot be read; it is left as it is."""
        self._file = file
        self._known = {network.id: network for network in _read(file)}
        self._writing = asyncio.Lock()

    def list(self) -> list[LocalNetwork]:
        """Return all, oldest first."""
        return list(self._known.values())

    def get(self, name: str) -> LocalNetwork | None:
        """Return one by its name."""
        return next((network for network in self._known.values() if network.name == name), None)

    async def create(self, spec: api.NetworkSpec) -> LocalNetwork:
        """Keep a configuration. OSError, and then it is not there."""
        # Docker takes the driver away, so that no older engine uses such a network as one.
        made = LocalNetwork(secrets.token_hex(32), spec.annotations.name, "null", time.time(), spec=spec)
        async with self._writing:
            await self._write({**self._known, made.id: made})
        return made

    async def remove(self, network_id: str) -> None:
        """Forget one. May be repeated."""
        async with self._writing:
            await self._write({key: network for key, network in self._known.items() if key != network_id})

    async def _write(self, known: dict[str, LocalNetwork]) -> None:
        rows = [
            {"id": one.id, "created_at": one.created_at, "spec": one.spec.SerializeToString().hex()}
            for one in known.values()
            if one.spec is not None
        ]
        await asyncio.to_thread(write_atomic, self._file, json.dumps(rows).encode())
        self._known = known


def _read(file: Path) -> list[LocalNetwork]:
    try:
        found = []
        for fields in json.loads(file.read_bytes()):
            spec = api.NetworkSpec.FromString(bytes.fromhex(fields["spec"]))
            name = spec.annotations.name
            found.append(LocalNetwork(str(fields["id"]), name, "null", float(fields["created_at"]), spec=spec))
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, RecursionError, DecodeError) as error:
        raise DamagedState(str(file), str(error) or type(error).__name__) from error
    return found
