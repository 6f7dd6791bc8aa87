"""Programs at devices, as bytes: cluster/test_host_ports6 has the kernel read them."""

from shoal.network.rtnetlink import attributes
from shoal.network.translation.traffic import add_room, set_program


def test_room_is_made_where_the_kernel_has_it_for_programs() -> None:
    made = add_room(7)
    assert made.type == 36
    assert made.body[4:8] == (7).to_bytes(4, "little")
    assert attributes(made.body[20:]) == {1: b"clsact\0"}


def test_a_program_is_named_and_decides_itself() -> None:
    made = set_program(7, 9, "s64pt")
    assert made.type == 44
    found = attributes(made.body[20:])
    assert found[1] == b"bpf\0"
    assert attributes(found[2]) == {6: (9).to_bytes(4, "little"), 7: b"s64pt\0", 8: (1).to_bytes(4, "little")}
