"""The text that nft gets; tests/cluster asks the kernel what it does."""

from ipaddress import IPv4Network

from shoal.network.rules import bridge_rules, remove_rules


def test_rules_replace_the_table_in_one_transaction() -> None:
    assert bridge_rules("shoal_a1", "shoala1", IPv4Network("172.18.0.0/16")) == (
        "table ip shoal_a1 {}\n"
        "delete table ip shoal_a1\n"
        "table ip shoal_a1 {\n"
        "\tchain postrouting {\n"
        "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
        '\t\tip saddr 172.18.0.0/16 oifname != "shoala1" masquerade\n'
        "\t}\n"
        "\tchain loopback {\n"
        "\t\ttype filter hook prerouting priority raw; policy accept;\n"
        '\t\tiifname "shoala1" ip daddr 127.0.0.0/8 drop\n'
        "\t}\n"
        "\tchain forward {\n"
        "\t\ttype filter hook forward priority filter; policy accept;\n"
        '\t\tiifname "shoala1" udp dport { 4789, 7946 } drop\n'
        '\t\tiifname "shoala1" tcp dport 7946 drop\n'
        '\t\toifname != "shoala1" accept\n'
        '\t\tiifname "shoala1" accept\n'
        "\t\tct state established,related accept\n"
        "\t\tct status dnat accept\n"
        "\t\tdrop\n"
        "\t}\n"
        "\tchain input {\n"
        "\t\ttype filter hook input priority filter; policy accept;\n"
        '\t\tiifname "shoal*" udp dport { 4789, 7946 } drop\n'
        '\t\tiifname "shoal*" tcp dport 7946 drop\n'
        "\t}\n"
        "}\n"
    )


def test_closed_ports_are_closed_to_every_daemons_containers() -> None:
    open_ = bridge_rules("shoal_a1", "shoala1", IPv4Network("172.18.0.0/16"))
    assert bridge_rules("shoal_a1", "shoala1", IPv4Network("172.18.0.0/16"), {2478, 2377}) == open_.removesuffix(
        "\t}\n}\n"
    ) + ('\t\tiifname "shoal*" tcp dport { 2377, 2478 } drop\n\t}\n}\n')


def test_another_port_of_vxlan_is_closed_too() -> None:
    rules = bridge_rules("shoal_a1", "shoala1", IPv4Network("172.18.0.0/16"), (), 4790)
    assert rules.count("udp dport { 4789, 4790, 7946 } drop") == 2


def test_removing_works_whether_or_not_the_table_is_there() -> None:
    assert remove_rules("shoal_a1") == "table ip shoal_a1 {}\ndelete table ip shoal_a1\n"
