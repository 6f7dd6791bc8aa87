from ipaddress import ip_address

from shoal.network.encryption.rules import exactly, more, table
from shoal.network.encryption.wanted import Encryption

TWO = Encryption(ip_address("192.0.2.1"), 4790, frozenset({4098, 4097}))


def test_packets_of_these_networks_are_marked_and_pass_encrypted_alone() -> None:
    assert more("t", TWO).splitlines() == [
        "add table inet shoal_t_esp",
        "add chain inet shoal_t_esp marks { type route hook output priority mangle; policy accept; }",
        "add rule inet shoal_t_esp marks udp dport 4790 @th,96,24 4097 meta mark set 0xd0c4e3",
        "add rule inet shoal_t_esp marks udp dport 4790 @th,96,24 4098 meta mark set 0xd0c4e3",
        "add chain inet shoal_t_esp leaves { type filter hook postrouting priority filter; policy accept; }",
        "add rule inet shoal_t_esp leaves udp dport 4790 @th,96,24 4097 rt ipsec missing drop",
        "add rule inet shoal_t_esp leaves udp dport 4790 @th,96,24 4098 rt ipsec missing drop",
        "add chain inet shoal_t_esp comes { type filter hook input priority filter; policy accept; }",
        "add rule inet shoal_t_esp comes udp dport 4790 @th,96,24 4097 meta ipsec missing drop",
        "add rule inet shoal_t_esp comes udp dport 4790 @th,96,24 4098 meta ipsec missing drop",
    ]


def test_one_text_takes_the_place_of_what_was() -> None:
    assert exactly("t", TWO) == f"add table {table('t')}\ndelete table {table('t')}\n" + more("t", TWO)


def test_without_encrypted_networks_there_is_no_table() -> None:
    nothing = Encryption(TWO.local)
    assert exactly("t", nothing).splitlines() == [f"add table {table('t')}", f"delete table {table('t')}"]
