"""The packet rules of encrypted overlays, as texts of nft's language. Pure.

VXLAN packets of these networks get the mark that the policies look for. One that no policy encrypts does not leave this
node, and one that came in the clear is not taken: Docker's way leaves the first to chance.
"""

from shoal.network.encryption.wanted import MARK, Encryption

# The VXLAN id, behind UDP's 8 bytes and 4 of VXLAN's own.
_VNI = "@th,96,24"


def table(tag: str) -> str:
    """Return the name of a node's table."""
    return f"inet shoal_{tag}_esp"


def more(tag: str, wanted: Encryption) -> str:
    """Return what guards these networks beside those that are guarded already."""
    name = table(tag)
    lines = [f"add table {name}"]
    for chain, hook, verdict in (
        # Of type route: the kernel looks for a way, and so for a policy, again once the mark is there.
        ("marks", "type route hook output priority mangle", f"meta mark set {MARK:#x}"),
        ("leaves", "type filter hook postrouting priority filter", "rt ipsec missing drop"),
        ("comes", "type filter hook input priority filter", "meta ipsec missing drop"),
    ):
        lines.append(f"add chain {name} {chain} {{ {hook}; policy accept; }}")
        lines += [
            f"add rule {name} {chain} udp dport {wanted.port} {_VNI} {vni} {verdict}" for vni in sorted(wanted.vnis)
        ]
    return "\n".join([*lines, ""])


def exactly(tag: str, wanted: Encryption) -> str:
    """Return what guards these networks and no others; without any, what removes the table."""
    name = table(tag)
    # To delete one that is not there is an error before nft 1.0.8 (`destroy`).
    cleared = f"add table {name}\ndelete table {name}\n"
    return cleared + more(tag, wanted) if wanted.vnis else cleared
