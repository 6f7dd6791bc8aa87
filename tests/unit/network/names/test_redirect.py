"""The redirection's text; what nft makes of it, tests/interop/test_names.py shows."""

from shoal.network.names.redirect import redirect


def test_both_protocols_are_led_to_their_ports_and_the_text_may_be_repeated() -> None:
    text = redirect(53011, 40000)
    assert "ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:53011\n" in text
    assert "ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:40000\n" in text
    # Made, so that it can be deleted, and then made anew: nft 1.0.6 has no `destroy`.
    assert text.splitlines()[:2] == ["table ip shoal_names", "delete table ip shoal_names"]
