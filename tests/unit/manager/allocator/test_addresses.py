import pytest

from shoal.errors import InvalidArgument
from shoal.manager.allocator.addresses import V4, V6, Subnet, parse_address, parse_subnet, text_of


@pytest.mark.parametrize(
    ("text", "subnet"),
    [
        ("10.0.1.0/24", Subnet(0x0A000100, 24, V4)),
        ("10.0.1.77/24", Subnet(0x0A000100, 24, V4)),
        ("fd00::5/64", Subnet(0xFD00 << 112, 64, V6)),
    ],
)
def test_a_subnet_is_read_without_the_bits_of_a_host(text: str, subnet: Subnet) -> None:
    assert parse_subnet(text) == subnet


def test_a_subnet_is_written_as_people_write_it() -> None:
    assert str(parse_subnet("10.0.1.9/24")) == "10.0.1.0/24"
    assert str(parse_subnet("fd00:0:0::/48")) == "fd00::/48"


@pytest.mark.parametrize("text", ["10.0.1.5", "10.0.1.5/24", "255.255.255.255", "0.0.0.0", "fd00::1", "fd00::1/64"])
def test_addresses_survive_the_way_there_and_back(text: str) -> None:
    number, bits = parse_address(text)
    assert text_of(number, bits) == text.partition("/")[0]


@pytest.mark.parametrize("text", ["", "x", "10.0.1", "10.0.1.256", "10.0.1.1.1", "10.0.1.-1", "fd00::g", "٣.0.0.1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_address(text)


def test_what_is_no_subnet_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        parse_subnet("10.0.0.0/33")
