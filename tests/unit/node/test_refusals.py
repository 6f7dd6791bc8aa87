from shoal.node import refusals


def test_last_manager_loses_everything() -> None:
    assert refusals.leaving(1, 0).endswith(
        "erases all current state of the swarm. Use `--force` to ignore this message. "
    )


def test_manager_whose_leaving_costs_the_quorum_is_told_the_numbers() -> None:
    text = refusals.leaving(2, 1)
    assert "Removing this node leaves 1 managers out of 3. Without a Raft quorum your swarm will" in text
    assert text.endswith("Use `--force` to suppress this message.")


def test_spare_manager_is_only_warned() -> None:
    text = refusals.leaving(5, 0)
    assert "leaves" not in text
    assert "--force-new-cluster" in text


def test_manager_without_a_quorum_may_lose_the_consensus() -> None:
    assert "Doing so may lose the consensus of your cluster. The only way" in refusals.leaving(None, 0)
