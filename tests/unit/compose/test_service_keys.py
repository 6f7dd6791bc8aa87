import pytest

from shoal.compose.errors import ComposeError
from tests.unit.compose.files import service


def test_commands() -> None:
    assert service("command: echo 'a b'") == {"command": ["echo", "a b"]}
    assert service("entrypoint: [a, b]", "entrypoint: c") == {"entrypoint": ["c"]}
    with pytest.raises(ComposeError, match=r"services.web.command: the ' in it is not closed"):
        service('command: "echo \'a"')


def test_health_checks() -> None:
    assert service("healthcheck: {test: x y}") == {"healthcheck": {"test": ["CMD-SHELL", "x y"]}}
    with pytest.raises(ComposeError, match=r"healthcheck.test: must be NONE, CMD or CMD-SHELL"):
        service("healthcheck: {test: [x]}")


def test_hosts() -> None:
    assert service("extra_hosts: ['a:1.1.1.1', 'b=[::1]']") == {"extra_hosts": ["a=1.1.1.1", "b=::1"]}
    assert service("extra_hosts: {b: x, a: [y, z]}") == {"extra_hosts": ["a=y", "a=z", "b=x"]}
    with pytest.raises(ComposeError, match="must be HOST=ADDRESS"):
        service("extra_hosts: [a]")


def test_a_bind_mount_needs_a_source() -> None:
    with pytest.raises(ComposeError, match="must have the key source"):
        service("volumes: [{type: bind, target: /x}]")


def test_devices() -> None:
    assert service("devices: ['/dev/a', '/dev/b:/dev/c:r']") == {
        "devices": [
            {"source": "/dev/a", "target": "/dev/a", "permissions": "rwm"},
            {"source": "/dev/b", "target": "/dev/c", "permissions": "r"},
        ]
    }


def test_a_range_of_many_ports_is_counted() -> None:
    with pytest.raises(ComposeError, match=r"services.web.ports\[\d\]: there are more than 200,000 values"):
        service("ports: ['1-65535:1-65535/tcp', '1-65535:1-65535/udp']")
