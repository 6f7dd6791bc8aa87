"""The kernel's files are read as numbers."""

from shoal.runtime.stats import block_io, interfaces, number, pairs

NET_DEV = """\
Inter-|   Receive                                     |  Transmit
 face |bytes packets errs drop fifo frame comp multi|bytes packets errs drop fifo colls carrier compressed
    lo:  100       1    0    0    0     0    0     0   100       1    0    0    0     0       0          0
  eth0: 1000      10    1    2    0     0    0     0   500       5    3    4    0     0       0          0
"""


def test_interfaces_without_the_loopback() -> None:
    assert interfaces(NET_DEV) == {
        "eth0": {
            "rx_bytes": 1000, "rx_packets": 10, "rx_errors": 1, "rx_dropped": 2,
            "tx_bytes": 500, "tx_packets": 5, "tx_errors": 3, "tx_dropped": 4,
        }
    }  # fmt: skip


def test_numbers() -> None:
    assert (number("12\n"), number("max\n"), number("")) == (12, 0, 0)
    assert pairs("cache 5\nrss 7\nodd\n") == {"cache": 5, "rss": 7}
    assert block_io("8:0 Read 5\n8:0 Write 6\n8:0 Sync 7\nTotal 18\n") == ((8, 0, "Read", 5), (8, 0, "Write", 6))
