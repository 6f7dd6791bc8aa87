from shoal.api import v1 as api
from shoal.manager.control.membership import SoleManager


def test_a_sole_manager_leads_and_cannot_be_spared() -> None:
    members = SoleManager("m1", "10.0.0.1:2377")
    (status,) = members.statuses().values()
    assert (status.leader, status.reachability) == (True, api.RaftMemberStatus.REACHABLE)
    assert not members.can_remove("m1")
    assert members.can_remove("n1")
