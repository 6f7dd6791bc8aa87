"""Names that one record claims, and what is answered where several claim one: gossip.md 3.3, row by row."""

from ipaddress import ip_address

from shoal.network.claims import Claim, Kind, Named, claims, key_of, named
from shoal.network.records import EndpointRecord

A, B, VIP, OTHER = (ip_address(f"10.0.1.{last}") for last in (3, 4, 100, 101))
SIX = ip_address("fd00::3")


def test_a_container_claims_its_name_and_its_own_aliases() -> None:
    record = EndpointRecord("Box", A, task_aliases=("db", "0123456789ab"))
    assert claims(record) == {Claim(name, Kind.OWN, A) for name in ("box", "db", "0123456789ab")}


def test_a_task_behind_a_virtual_ip_claims_lists_of_tasks_and_the_virtual_ip() -> None:
    record = EndpointRecord("web.1.x", A, "s", "web", VIP, aliases=("shop",))
    assert claims(record) == {
        *(Claim(name, Kind.OWN, A) for name in ("web.1.x", "tasks.web", "tasks.shop")),
        *(Claim(name, Kind.BEHIND, A, "s") for name in ("web", "shop")),
        *(Claim(name, Kind.VIP, VIP, "s") for name in ("web", "shop")),
    }


def test_a_task_without_a_virtual_ip_claims_the_services_name_for_itself() -> None:
    record = EndpointRecord("web.1.x", A, "s", "web")
    assert Claim("web", Kind.PLAIN, A, "s") in claims(record)


def test_a_disabled_task_claims_its_virtual_ip_alone() -> None:
    assert claims(EndpointRecord("web.1.x", A, "s", "web", VIP, disabled=True)) == {
        Claim("web", Kind.IDLE_VIP, VIP, "s")
    }
    assert not claims(EndpointRecord("web.1.x", A, "s", "web", disabled=True))
    assert not claims(EndpointRecord("box", A, disabled=True))


def test_names_that_no_question_can_hold_are_claimed_by_nobody() -> None:
    assert claims(EndpointRecord("büro", A, task_aliases=("x" * 254, "ok"))) == {Claim("ok", Kind.OWN, A)}
    assert key_of("WEB") == "web"
    assert key_of("\u212aelvin") is None  # lower() would make an ASCII k of it
    assert key_of("") is None


def test_a_service_without_a_name_claims_none() -> None:
    assert claims(EndpointRecord("web.1.x", A, "s", "", VIP)) == {Claim("web.1.x", Kind.OWN, A)}


def test_a_name_has_each_address_once_and_by_family() -> None:
    claimed = {("", Kind.OWN): {A: 2, SIX: 1}, ("s", Kind.PLAIN): {A: 1, B: 1}}
    assert named(claimed) == Named((A.packed, B.packed), (SIX.packed,))
    assert named({}) is None


def test_between_the_two_endpoint_modes_tasks_answer_and_no_virtual_ip() -> None:
    both = {("s", Kind.PLAIN): {A: 1}, ("s", Kind.BEHIND): {B: 1}, ("s", Kind.VIP): {VIP: 1}}
    assert named(both) == Named((A.packed, B.packed))
    # Another service's virtual IP of the same name (an alias that moves) is none of its business.
    assert named({**both, ("t", Kind.VIP): {OTHER: 1}}) == Named((A.packed, B.packed, OTHER.packed))


def test_a_virtual_ip_stays_while_only_tasks_on_their_way_out_are_left() -> None:
    assert named({("s", Kind.IDLE_VIP): {VIP: 1}}) == Named((VIP.packed,))
    assert named({("s", Kind.IDLE_VIP): {VIP: 1}, ("s", Kind.VIP): {OTHER: 1}}) == Named((OTHER.packed,))
