"""Whose tables of Shoal are left."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.leftovers.shoals import device_tag, left_by_former, left_by_others, tag, translation_tag

OWN, OTHER = "aaaaaaaa", "bbbbbbbb"


def test_only_what_has_the_form_of_a_shoals_name_is_a_shoals() -> None:
    assert [tag(name) for name in ("shoal_aaaaaaaa", "shoal_aaaaaaaa_mesh", "shoal_names", "shoal_vips_x")] == [
        OWN, OWN, "", "",
    ]  # fmt: skip
    assert [tag(name) for name in ("shoal", "shoal_", "myshoal_aaaaaaaa", "shoal_aaaaaaaa2", "shoals_aaaaaaaa")] == [
        ""
    ] * 5
    assert [device_tag(name) for name in ("vxiaaaaaaaa", "vxi", "vxiaaaaaaaa0", "vxlan1")] == [OWN, "", "", ""]
    found = [
        translation_tag(name) for name in ("s64paaaaaaaa", "s64maaaaaaaa", "s64xaaaaaaaa", "s64paaaaaaaa0", "s64p")
    ]
    assert found == [OWN, OWN, "", "", ""]


def test_tables_of_a_daemon_that_is_gone_go_and_of_one_that_is_not_stay() -> None:
    tables = [
        ("ip", f"shoal_{OTHER}_ports"), ("netdev", f"shoal_{OTHER}_mesh"), ("inet", f"shoal_{OTHER}_of_1999"),
        ("ip", f"shoal_{OWN}"), ("ip", "shoal_cccccccc"), ("ip", "filter"),
    ]  # fmt: skip
    assert left_by_others(tables, OWN, lambda one: one == "cccccccc") == sorted(tables[:3])


def test_own_tables_of_other_versions_and_of_networks_that_are_gone_go() -> None:
    now = [
        ("ip", f"shoal_{OWN}"), ("ip", f"shoal_{OWN}_ports"), ("ip", f"shoal_{OWN}_mesh"),
        ("netdev", f"shoal_{OWN}_mesh"), ("inet", f"shoal_{OWN}_esp"), ("ip", f"shoal_{OWN}_abcdefghi"),
        ("ip6", f"shoal_{OWN}_ports"), ("ip6", f"shoal_{OWN}_mesh"),
    ]  # fmt: skip
    former = [("inet", f"shoal_{OWN}"), ("ip", f"shoal_{OWN}_esp"), ("ip", f"shoal_{OWN}_123456789")]
    assert left_by_former([*now, *former, ("ip", "nat")], OWN, ["shoal-abcdefghi", "eth0"]) == sorted(former)


NAMES = st.sampled_from(["filter", "nat", "shoal_aaaaaaaa", "shoal_bbbbbbbb_mesh", "shoal_cccccccc_ports"]) | st.text()


@given(st.lists(st.tuples(st.sampled_from(["ip", "ip6", "inet", "netdev"]), NAMES)), st.booleans())
def test_no_table_of_anybody_else_goes(tables: list[tuple[str, str]], owned: bool) -> None:
    assert all(tag(name) not in ("", OWN) for _, name in left_by_others(tables, OWN, lambda _: owned))
    assert not owned or not left_by_others(tables, OWN, lambda _: owned)
    assert all(tag(name) == OWN for _, name in left_by_former(tables, OWN, []))
