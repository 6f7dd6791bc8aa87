"""The removal as texts."""

from shoal.network.leftovers.chains import Chain, Rule, Table
from shoal.network.leftovers.docker import Removal
from shoal.network.leftovers.texts import for_nft, for_restore


def removal(*, legacy: bool) -> Removal:
    rules = (Rule("FORWARD", {}, "jump", "DOCKER-FORWARD", at="-j DOCKER-FORWARD" if legacy else 7),)
    return Removal(Table("ip", "filter", {"FORWARD": Chain("drop")}, legacy), rules, ("DOCKER-FORWARD",), opens=True)


def test_nft_deletes_rules_by_their_handles_before_chains() -> None:
    assert for_nft([removal(legacy=False)], [("ip6", "docker-bridges")]) == (
        "delete rule ip filter FORWARD handle 7\n"
        "delete chain ip filter DOCKER-FORWARD\n"
        "add chain ip filter FORWARD { policy accept; }\n"
        "delete table ip6 docker-bridges\n"
    )


def test_iptables_restore_deletes_rules_by_their_words_and_flushes_nothing() -> None:
    assert for_restore([removal(legacy=True)]) == (
        "*filter\n:FORWARD ACCEPT [0:0]\n-D FORWARD -j DOCKER-FORWARD\n-X DOCKER-FORWARD\nCOMMIT\n"
    )
