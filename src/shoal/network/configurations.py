"""This host's networks that are nothing but a configuration (`docker network create --config-only`), in a file.

They have no interface and no address. A network of the swarm whose driver is each node's own names one, and so may have
another subnet or another parent interface on each node.
"""

import asyncio
import dataclasses
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import DamagedState, InvalidArgument
from shoal.files import write_atomic
from shoal.network.types import Configuration, LocalNetwork
from shoal.network.wanted import from_json


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the file holds."""

    networks: tuple[LocalNetwork, ...]


class Configurations:
    """Those of one host. What is changed is in the file before a call returns."""

    def __init__(self, file: Path) -> None:
        """DamagedState where the file is there and cannot be read; it is left as it is."""
        self._file = file
        self._known = _read(file)
        self._writing = asyncio.Lock()

    def list(self) -> list[LocalNetwork]:
        """Return all, oldest first."""
        return list(self._known)

    def get(self, name: str) -> LocalNetwork | None:
        """Return one by its name."""
        return next((network for network in self._known if network.name == name), None)

    async def create(self, name: str, configuration: Configuration) -> LocalNetwork:
        """Keep a configuration. OSError, and then it is not there."""
        # Docker takes the driver away, so that no older engine uses such a network as one.
        made = LocalNetwork(secrets.token_hex(32), name, "null", time.time(), configuration=configuration)
        async with self._writing:
            await self._write((*self._known, made))
        return made

    async def remove(self, network_id: str) -> None:
        """Forget one. May be repeated."""
        async with self._writing:
            await self._write(tuple(network for network in self._known if network.id != network_id))

    async def _write(self, known: tuple[LocalNetwork, ...]) -> None:
        text = json.dumps(dataclasses.asdict(_Kept(known)))
        await asyncio.to_thread(write_atomic, self._file, text.encode())
        self._known = known


def _read(file: Path) -> tuple[LocalNetwork, ...]:
    try:
        return from_json(_Kept, file.read_bytes()).networks
    except FileNotFoundError:
        return ()
    except InvalidArgument as error:
        raise DamagedState(str(file), str(error)) from error
