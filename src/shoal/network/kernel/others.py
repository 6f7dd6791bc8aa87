"""Who of an overlay is on other nodes, as the kernel's tables have it. A change costs what changed. Pure.

None takes an address of nobody (a subnet's broadcast), nor an address or a MAC that a container of this node or a
gateway has. Of two addresses with one MAC the greater one says where it is: so it does not matter in which order
records came.
"""

from collections.abc import Iterable, Mapping

from shoal.network.records import PeerRecord, of_one
from shoal.network.rtnetlink import Address, Network

Neighbour = tuple[int, Address]  # VXLAN id and address
Forwarding = tuple[int, str]  # VXLAN id and MAC


class Others:
    """The tables of one overlay. `subnets` come with their VXLAN ids; `local` is this node's tunnel."""

    def __init__(self, subnets: Iterable[tuple[Network, int]], local: Address) -> None:
        self._subnets = list(subnets)
        self.local = local
        self._records: dict[Address, PeerRecord] = {}  # of other nodes that there is a way to
        self._by_mac: dict[str, set[Address]] = {}
        self._addresses: frozenset[Address] = frozenset()
        self._macs: frozenset[str] = frozenset()
        self.neighbours: dict[Neighbour, str] = {}
        self.forwarding: dict[Forwarding, Address] = {}
        self.touched: set[Neighbour | Forwarding] = set()
        """What may be another since this was emptied."""

    def here(self, addresses: frozenset[Address], macs: frozenset[str]) -> None:
        """Take over which addresses and MACs are on this node."""
        doubtful = set(self._addresses ^ addresses)
        for mac in self._macs ^ macs:
            doubtful |= self._by_mac.get(mac, set())
        self._addresses, self._macs = addresses, macs
        for address in doubtful:
            self._place(address)

    def change(self, addresses: Iterable[Address], records: Mapping[Address, PeerRecord]) -> None:
        """Take over what the records say of these addresses; nothing: nobody has it."""
        for address in addresses:
            record = records.get(address)
            if record is not None and (record.tunnel == self.local or record.tunnel.version != self.local.version):
                record = None
            former = self._records.pop(address, None)
            if record is not None:
                self._records[address] = record
            if former == record:
                continue
            if former is not None:
                having = self._by_mac[former.mac]
                having.remove(address)
                if not having:
                    del self._by_mac[former.mac]
                self._lead(former.mac, address)
            if record is not None:
                self._by_mac.setdefault(record.mac, set()).add(address)
            self._place(address)

    def _vni(self, address: Address) -> int:
        for subnet, vni in self._subnets:
            if of_one(address, subnet):
                return vni
        return 0

    def _place(self, address: Address) -> None:
        """Say anew which MAC an address has, and where that is."""
        vni = self._vni(address)
        if not vni:
            return
        record = self._records.get(address)
        if record is None or address in self._addresses or record.mac in self._macs:
            self.neighbours.pop((vni, address), None)
        else:
            self.neighbours[vni, address] = record.mac
        self.touched.add((vni, address))
        if record is not None:
            self._lead(record.mac, address)

    def _lead(self, mac: str, address: Address) -> None:
        """Say anew where a MAC is, on the segment of an address that has it, or had it."""
        vni = self._vni(address)
        if not vni:
            return
        self.touched.add((vni, mac))
        having = [one for one in self._by_mac.get(mac, ()) if one not in self._addresses and self._vni(one) == vni]
        if having and mac not in self._macs:
            greatest = max(having, key=lambda one: (one.version, one.packed))
            self.forwarding[vni, mac] = self._records[greatest].tunnel
        else:
            self.forwarding.pop((vni, mac), None)
