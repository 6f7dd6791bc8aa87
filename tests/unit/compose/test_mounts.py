import pytest

from shoal.compose.mounts import BadMount, split


def test_short_forms() -> None:
    assert split("/data") == {"type": "volume", "target": "/data"}
    assert split("data:/d:ro,nocopy") == {
        **{"type": "volume", "source": "data", "target": "/d", "read_only": True},
        "volume": {"nocopy": True},
    }
    assert split("./x:/d/../e/:rslave,z") == {
        **{"type": "bind", "source": "./x", "target": "/e"},
        "bind": {"create_host_path": True, "propagation": "rslave", "selinux": "z"},
    }
    assert split("data:/d:z") == {"type": "volume", "source": "data", "target": "/d", "bind": {"selinux": "z"}}
    assert split("~/x:/d:rw")["read_only"] is False


@pytest.mark.parametrize("text", ["", ":/x", "a:", "a:b:c:d", "data:/d:carpet", "data:/d:rslave"])
def test_what_is_no_mount_is_refused(text: str) -> None:
    with pytest.raises(BadMount):
        split(text)
