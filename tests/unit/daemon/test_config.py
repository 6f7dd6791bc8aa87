"""Flags and the configuration file, checked once."""

import json
from pathlib import Path

import pytest

from shoal.daemon import flags
from shoal.daemon.config import DaemonConfig, combine
from shoal.errors import InvalidArgument
from shoal.runtime.log_options import LogDefault

TLS = {"tlsverify": True, "tlscacert": "ca.pem", "tlscert": "cert.pem", "tlskey": "key.pem"}


def test_defaults() -> None:
    config = combine({}, None, "")
    assert config.data_root == Path("/var/lib/shoal")
    assert config.sockets == ("unix:///run/shoal/shoal.sock",)


def test_the_default_socket_lies_below_the_exec_root() -> None:
    assert combine({"exec_root": "/x"}, None, "").sockets == ("unix:///x/shoal.sock",)


def test_file_has_the_names_of_daemon_json() -> None:
    text = json.dumps({"data-root": "/d", "labels": ["zone=a"], "debug": True, "metrics-addr": "127.0.0.1:9323"})
    config = combine({}, text, "daemon.json")
    assert (config.data_root, config.engine_labels, config.debug) == (Path("/d"), {"zone": "a"}, True)


def test_how_logs_are_kept_is_in_the_file_or_in_flags() -> None:
    wanted = LogDefault("json-file", {"max-size": "10m", "max-file": "3"})
    text = json.dumps({"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}})
    assert combine({}, text, "daemon.json").logs == wanted
    assert combine({"log_opts": ["max-size=10m", "max-file=3"]}, None, "").logs == wanted


@pytest.mark.parametrize(
    ("given", "text", "words"),
    [
        ({"hosts": ["tcp://0.0.0.0:2375"]}, None, "needs --tlsverify --tlscacert --tlscert --tlskey"),
        ({"hosts": ["tcp://0.0.0.0:2375"], "tls": True}, None, "whoever reaches it is root on this host"),
        ({"hosts": ["tcp://0.0.0.0"], **TLS}, None, "the port is missing"),
        ({"hosts": ["fd://"]}, None, "give unix:///path or tcp://address:port"),
        ({"labels": ["x"]}, None, "bad attribute format: x"),
        ({"data_root": "var"}, None, "--data-root must be an absolute path"),
        ({}, '{"nosuch": 1}', "the following directives don't match any configuration option: nosuch"),
        ({}, "{", "unable to configure shoald with file f"),
        ({}, "[]", "it is not a JSON object"),
        ({}, '{"labels": "x=y"}', "labels has the wrong type"),
        ({}, '{"log-level": "loud"}', "invalid logging level: loud"),
        ({}, '{"log-driver": "syslog"}', "no log driver named 'syslog' is registered"),
        ({}, '{"log-opts": ["max-size=1m"]}', "log-opts has the wrong type"),
        ({}, '{"log-opts": {"max-file": 3}}', "log-opts has the wrong type"),
        ({}, '{"log-opts": {"max-size": "much"}}', "invalid size: 'much'"),
        ({"log_opts": ["max-size"]}, None, "bad format for --log-opt: max-size"),
        ({"debug": True}, '{"debug": true}', "specified both as a flag and in the configuration file: debug"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_change(given: dict[str, object], text: str | None, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        combine(given, text, "f")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tcp_is_accepted_with_all_four_tls_flags() -> None:
    assert combine({"hosts": ["tcp://127.0.0.1:2376"], **TLS}, None, "").sockets == ("tcp://127.0.0.1:2376",)


def test_flags_are_parsed_and_the_named_file_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"exec-root": "/e"}')
    config = flags.parse(["-H", "unix:///a", "-H", "unix:///b", "--label", "x=1", "-D", "--config-file", str(file)])
    assert config == DaemonConfig(hosts=("unix:///a", "unix:///b"), labels=("x=1",), debug=True, exec_root=Path("/e"))
    with pytest.raises(InvalidArgument, match="unable to configure shoald with file"):
        flags.parse(["--config-file", str(tmp_path / "nosuch")])
