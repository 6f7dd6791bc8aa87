"""What networks get: subnets and VXLAN ids. It also gives out the addresses of each network.

Pure. In: networks as the store has them, and recorded addresses. Out: what the networks get, or what they lack. Nothing
here knows who asks. Source: SwarmKit manager/allocator/networkallocator; moby libnetwork's ovmanager.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from shoal.api import v1 as api
from shoal.errors import InvalidArgument
from shoal.manager.allocator import waiting
from shoal.manager.allocator.addresses import V4, Subnet, parse_address, parse_subnet, text_of
from shoal.manager.allocator.numbers import Numbers
from shoal.manager.allocator.pool import Pool
from shoal.manager.allocator.subnets import Subnets
from shoal.manager.allocator.waiting import Key, Lacking
from shoal.store.changes import copy

OVERLAY = "overlay"
LOCAL_DRIVERS = frozenset({"bridge", "host", "ipvlan", "macvlan", "null"})
VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
FIRST_VNI, LAST_VNI = 4096, (1 << 24) - 1
IPAM_DRIVER = "default"


def driver_of(network: api.Network) -> str:
    """Return the name of a network's driver. A swarm's network without a driver is an overlay."""
    return network.driver_state.name or network.spec.driver_config.name or OVERLAY


def is_overlay(network: api.Network) -> bool:
    """Return whether addresses of a network are given out here."""
    return driver_of(network) not in LOCAL_DRIVERS


@dataclass(frozen=True)
class Overlay:
    """A network that has what it needs."""

    id: str
    name: str
    pools: tuple[Pool, ...]  # of IPv4 first
    vnis: tuple[int, ...]

    @property
    def families(self) -> tuple[int, ...]:
        """Return of which families somebody on it has an address, IPv4 first.

        The subnets of IPv6 are on the segment of that of IPv4. Where there are several of these, they could not be
        everywhere: then IPv4 alone is given.
        """
        bits = [pool.subnet.bits for pool in self.pools]
        return (V4,) if bits.count(V4) > 1 else tuple(dict.fromkeys(bits))

    def pool_of(self, number: int, bits: int) -> Pool | None:
        """Return the pool that has an address."""
        return next((pool for pool in self.pools if pool.subnet.bits == bits and pool.subnet.contains(number)), None)

    def free(self, bits: int) -> int:
        """Return the number of free addresses of a family."""
        return sum(pool.free for pool in self.pools if pool.subnet.bits == bits)


class Networks:
    """The claims of all networks. `freed` collects the keys of what was freed, for items that wait for it."""

    def __init__(self) -> None:
        self.subnets = Subnets()
        self.vnis = Numbers(FIRST_VNI, LAST_VNI)
        self.freed: dict[Key, None] = {}
        self._overlays: dict[str, Overlay] = {}
        # Restored subnets that nobody had asked for by name. A new leader continues after them.
        self._restored: tuple[list[Subnet], list[int]] = [], []

    # -- networks -----------------------------------------------------------------------------------------------------

    def get(self, network_id: str) -> Overlay | None:
        """Return an overlay if it has what it needs."""
        return self._overlays.get(network_id)

    def restore(self, network: api.Network) -> list[str]:
        """Restore what a network was given before. Returns what is wrong with it, in words."""
        wrong = []
        pools = []
        vnis = []
        name = network.spec.annotations.name
        for config in network.ipam.configs:
            try:
                pool = _pool(config)
                gateway, bits = parse_address(config.gateway) if config.gateway else (0, 0)
            except InvalidArgument as error:
                wrong.append(f"network {name}: {error}")
                continue
            other = self.subnets.owner_of(pool.subnet)
            if other is not None:
                wrong.append(f"network {name}: {pool.subnet} overlaps with {other[0]} of {self._name(other[1])}")
            self.subnets.hold(pool.subnet, network.id)
            if bits == pool.subnet.bits and pool.subnet.contains(gateway):
                pool.reserve(gateway)
            pools.append(pool)
            if not any(asked.subnet for asked in network.spec.ipam.configs):
                self._restored[0].append(pool.subnet)
        for text in network.driver_state.options.get(VNI_OPTION, "").split(","):
            if number := _vni(text):
                vnis.append(number)
                if not self.vnis.hold(vnis[-1], network.id):
                    wrong.append(
                        f"network {name}: VXLAN id {text} is that of {self._name(self.vnis.owner_of(vnis[-1]))}"
                    )
        if VNI_OPTION not in network.spec.driver_config.options:
            self._restored[1].extend(vnis)
        self._keep(network, pools, vnis)
        return wrong

    def allocate(self, network: api.Network) -> api.Network | Lacking:
        """Return a network with what it needs."""
        driver = driver_of(network)
        if driver in LOCAL_DRIVERS:
            changed = copy(network)
            changed.driver_state.name = driver
            changed.ipam.driver.SetInParent()  # older nodes look for it
            return changed
        if driver != OVERLAY:
            return self._lacking(network, f"there is no driver {driver}", waiting.NEVER)
        ipam_driver = network.spec.ipam.driver.name or IPAM_DRIVER
        if ipam_driver != IPAM_DRIVER:
            return self._lacking(network, f"there is no IPAM driver {ipam_driver}", waiting.NEVER)
        try:
            made = self._allocate(network)
        except InvalidArgument as error:
            # Control refuses subnets that cannot be read. If one is there all the same, the network waits and says why.
            made = self._lacking(network, str(error), waiting.NEVER)
        if isinstance(made, Lacking):
            self._let_go(network.id)
        return made

    def drop(self, network_id: str) -> None:
        """Forget a network and all its addresses."""
        self._overlays.pop(network_id, None)
        self._let_go(network_id)
        self.freed[waiting.removal(network_id)] = None

    def go_on(self) -> None:
        """Continue after the highest that was given. To be called when everything is restored."""
        self.subnets.go_on(self._restored[0])
        self.vnis.go_on(self._restored[1])
        for overlay in self._overlays.values():
            for pool in overlay.pools:
                pool.go_on()

    # -- addresses ----------------------------------------------------------------------------------------------------

    def take(self, network_id: str, *, all_families: bool = False) -> list[str] | Lacking:
        """Return the next free address with its prefix length; with two families one of each."""
        overlay = self._overlays[network_id]
        taken: list[str] = []
        for bits in overlay.families if all_families else overlay.families[:1]:
            for pool in overlay.pools:
                number = pool.take() if pool.subnet.bits == bits else None
                if number is not None:
                    taken.append(f"{text_of(number, bits)}/{pool.subnet.prefix}")
                    break
            else:
                self.release(network_id, taken)
                return Lacking(f"network {overlay.name} has no free address", waiting.address(network_id, bits))
        return taken

    def take_fixed(self, network_id: str, addresses: Iterable[str]) -> list[str] | Lacking:
        """Give these fixed addresses."""
        overlay = self._overlays[network_id]
        taken: list[str] = []
        for text in addresses:
            lacking: Lacking | None = None
            try:
                number, bits = parse_address(text)
            except InvalidArgument as error:
                lacking = Lacking(str(error), waiting.NEVER)
            else:
                pool = overlay.pool_of(number, bits)
                if pool is None:
                    lacking = Lacking(f"{text} is in no subnet of network {overlay.name}", waiting.NEVER)
                elif not pool.is_free(number):
                    key = waiting.fixed_address(network_id, number)
                    lacking = Lacking(f"address {text} of network {overlay.name} is in use", key)
                else:
                    pool.hold(number)
                    taken.append(f"{text_of(number, bits)}/{pool.subnet.prefix}")
            if lacking is not None:
                self.release(network_id, taken)
                return lacking
        return taken

    def hold(self, network_id: str, addresses: Iterable[str]) -> list[str]:
        """Add a holder to recorded addresses. Returns those that had one."""
        shared = []
        for text, pool, number in self._known(network_id, addresses):
            if not pool.hold(number):
                shared.append(text)
        return shared

    def release(self, network_id: str, addresses: Iterable[str]) -> None:
        """Remove a holder, which `take` or `hold` added, from addresses. Does nothing if the network is gone."""
        for _, pool, number in self._known(network_id, addresses):
            if pool.release(number):
                self.freed[waiting.address(network_id, pool.subnet.bits)] = None
                self.freed[waiting.fixed_address(network_id, number)] = None

    def _known(self, network_id: str, addresses: Iterable[str]) -> Iterable[tuple[str, Pool, int]]:
        overlay = self._overlays.get(network_id)
        if overlay is None:
            return
        for text in addresses:
            try:
                number, bits = parse_address(text)
            except InvalidArgument:
                continue  # Another program recorded this; it is no claim on anything.
            pool = overlay.pool_of(number, bits)
            if pool is not None:
                yield text, pool, number

    # -- how a network gets what it needs -----------------------------------------------------------------------------

    def _allocate(self, network: api.Network) -> api.Network | Lacking:
        configs: list[tuple[api.IPAMConfig, Pool]] = []
        for asked in list(network.spec.ipam.configs) or [api.IPAMConfig()]:
            config = copy(asked)
            subnet = self._subnet(network, config)
            if isinstance(subnet, Lacking):
                return subnet
            config.subnet = str(subnet)
            config.family = api.IPAMConfig.IPV4 if subnet.bits == V4 else api.IPAMConfig.IPV6
            pool = _pool(config)
            lacking = self._gateway(network, config, pool)
            if lacking is not None:
                return lacking
            configs.append((config, pool))
        # One VXLAN id for each subnet, in this order. Docker's overlay driver counts IPv4 subnets alone; those of IPv6
        # beside them have none of their own.
        configs.sort(key=lambda pair: pair[1].subnet.bits)
        four = sum(pool.subnet.bits == V4 for _, pool in configs)
        vnis = self._vnis(network, four or len(configs))
        if isinstance(vnis, Lacking):
            return vnis
        changed = copy(network)
        changed.driver_state.name = OVERLAY
        changed.driver_state.options.update(network.spec.driver_config.options)
        changed.driver_state.options[VNI_OPTION] = ",".join(map(str, vnis))
        changed.ipam.driver.name = IPAM_DRIVER
        changed.ipam.driver.options.update(network.spec.ipam.driver.options)
        del changed.ipam.configs[:]
        changed.ipam.configs.extend(config for config, _ in configs)
        self._keep(network, [pool for _, pool in configs], vnis)
        return changed

    def _subnet(self, network: api.Network, config: api.IPAMConfig) -> Subnet | Lacking:
        if not config.subnet:
            subnet = self.subnets.take(network.id)
            if subnet is None:
                return self._lacking(network, "the default address pools are exhausted", waiting.SUBNET)
            return subnet
        subnet = parse_subnet(config.subnet)
        other = self.subnets.owner_of(subnet)
        if other is not None:
            whose = "itself" if other[1] == network.id else self._name(other[1])
            key = waiting.NEVER if other[1] == network.id else waiting.removal(other[1])
            return self._lacking(network, f"{subnet} overlaps with {other[0]} of {whose}", key)
        self.subnets.hold(subnet, network.id)
        return subnet

    def _gateway(self, network: api.Network, config: api.IPAMConfig, pool: Pool) -> Lacking | None:
        if config.gateway:
            number, bits = parse_address(config.gateway)
            if bits != pool.subnet.bits or not pool.subnet.contains(number) or not pool.is_free(number):
                return self._lacking(network, f"{config.gateway} cannot be its gateway", waiting.NEVER)
            pool.reserve(number)
            return None
        gateway = pool.take()
        if gateway is None:
            return self._lacking(network, f"{pool.subnet} has no address for a gateway", waiting.NEVER)
        pool.keep(gateway)
        config.gateway = text_of(gateway, pool.subnet.bits)
        return None

    def _vnis(self, network: api.Network, count: int) -> list[int] | Lacking:
        asked = network.spec.driver_config.options.get(VNI_OPTION, "")
        vnis = []
        for text in asked.split(",") if asked else ():
            number = _vni(text.strip())
            if not number:
                return self._lacking(network, f"{text[:20]} is no VXLAN id", waiting.NEVER)
            owner = self.vnis.owner_of(number)
            if owner is not None:
                whose = "its own twice" if owner == network.id else f"that of {self._name(owner)}"
                key = waiting.NEVER if owner == network.id else waiting.vni(number)
                return self._lacking(network, f"VXLAN id {number} is {whose}", key)
            self.vnis.hold(number, network.id)
            vnis.append(number)
        while len(vnis) < count:
            taken = self.vnis.take(network.id)
            if taken is None:
                return self._lacking(network, "no VXLAN id is free", waiting.vni(0))
            vnis.append(taken)
        return vnis

    def _keep(self, network: api.Network, pools: list[Pool], vnis: list[int]) -> None:
        pools.sort(key=lambda pool: pool.subnet.bits)
        if pools and pools[0].subnet.bits == V4:
            for pool in pools:
                # A Docker Engine gives its own endpoint on a network the lowest address of IPv6 that it finds, and
                # asks nobody: a task that was given it could not start there.
                lowest = pool.take() if pool.subnet.bits != V4 else None
                if lowest is not None:
                    pool.keep(lowest)
        name = network.spec.annotations.name
        self._overlays[network.id] = Overlay(network.id, name, tuple(pools), tuple(vnis))

    def _let_go(self, network_id: str) -> None:
        for subnet in self.subnets.of(network_id):
            self.subnets.release(subnet, network_id)
            self.freed[waiting.SUBNET] = None
        for number in self.vnis.of(network_id):
            self.vnis.release(number, network_id)
            self.freed[waiting.vni(number)] = self.freed[waiting.vni(0)] = None

    def _name(self, network_id: str | None) -> str:
        overlay = self._overlays.get(network_id or "")
        return f"network {overlay.name if overlay else network_id}"

    @staticmethod
    def _lacking(network: api.Network, reason: str, key: Key) -> Lacking:
        return Lacking(f"network {network.spec.annotations.name}: {reason}", key)


def _pool(config: api.IPAMConfig) -> Pool:
    """Return the pool of a subnet, without its auxiliary addresses. Raises InvalidArgument."""
    subnet = parse_subnet(config.subnet)
    within = parse_subnet(config.range) if config.range else None
    if within is not None and (within.bits != subnet.bits or not subnet.contains(within.first)):
        raise InvalidArgument(f"{config.range} is no range of {config.subnet}")
    pool = Pool(subnet, within)
    for text in config.reserved.values():
        number, bits = parse_address(text)
        if bits != subnet.bits or not subnet.contains(number):
            raise InvalidArgument(f"{text} is no address of {config.subnet}")
        pool.reserve(number)
    return pool


def _vni(text: str) -> int:
    """Return the VXLAN id that a text says, or 0."""
    # Python raises ValueError for a number of thousands of digits.
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(LAST_VNI)) else 0
    return number if number <= LAST_VNI else 0
