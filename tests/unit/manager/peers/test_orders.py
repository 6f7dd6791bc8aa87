from shoal.manager.peers.orders import Beginning, Orders, Reply


def test_what_is_said_is_understood() -> None:
    for said in (
        Beginning("/data", "/x", "a", "c", 20),
        Orders(3, "root", "chain", "key", {"b": "10.0.0.2:2377"}, ["gone"]),
        Reply(3, "no\nplace", ["b"]),
    ):
        line = said.line()
        assert line.count(b"\n") == 1
        assert type(said).read(line) == said


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Orders(1, "root", "chain", "secret"))
