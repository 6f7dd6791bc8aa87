"""Published ports over IPv6: what comes for one is translated to IPv4 inside this host, and the answers back.

The kernel does it: a device whose packets a small program of BPF turns from one protocol into the other
(docs/decisions/0033-published-ports-ipv6.md). Which ports are published, and where they lead, is the matter of the
rules of IPv4; here is only how an IPv6 client gets there.
"""
