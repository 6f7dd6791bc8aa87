"""What a mesher refuses before it touches the kernel. The rest is shown by a real kernel: cluster/test_mesh."""

from dataclasses import replace
from ipaddress import IPv4Interface
from random import Random
from typing import cast

import pytest

from shoal.errors import FailedPrecondition
from shoal.network.kernel.nftables import Nftables
from shoal.network.mesh.mesher import Mesher
from tests.unit.network.mesh.meshes import MESH


def test_an_ingress_network_with_more_addresses_than_marks_is_refused() -> None:
    mesher = Mesher(cast(Nftables, None), Random(1))
    try:
        with pytest.raises(FailedPrecondition, match=r"10\.0\.0\.0/8 is too large for the routing mesh"):
            mesher.apply(replace(MESH, own=IPv4Interface("10.0.0.2/8")))
    finally:
        mesher.close()
