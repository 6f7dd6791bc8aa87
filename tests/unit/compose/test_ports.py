import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.compose.ports import BadPort, split

BASE = {"mode": "ingress", "protocol": "tcp"}


def test_short_forms() -> None:
    assert split("80") == [{**BASE, "target": 80}]
    assert split("8080:80/udp") == [{**BASE, "protocol": "udp", "target": 80, "published": "8080"}]
    assert split("127.0.0.1::80") == [{**BASE, "host_ip": "127.0.0.1", "target": 80}]
    assert split("[::1]:8080:80") == [{**BASE, "host_ip": "::1", "target": 80, "published": "8080"}]
    assert split("8000-9000:80") == [{**BASE, "target": 80, "published": "8000-9000"}]
    assert [(each["published"], each["target"]) for each in split("90-91:80-81")] == [("90", 80), ("91", 81)]


@pytest.mark.parametrize(
    "text", ["", "http", "80:", "80-90:80-85", "70000", "90-80", "host:80:80", "80/quic", "[::1]80"]
)
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(BadPort):
        split(text)


@given(st.text(alphabet="0123456789:-/[].tcpudx", max_size=30))
def test_any_text_is_ports_or_refused(text: str) -> None:
    try:
        found = split(text)
    except BadPort:
        return
    assert all(0 <= each["target"] < 65536 for each in found)
