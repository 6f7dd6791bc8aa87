from pathlib import Path

import pytest

from tests.harness.recorder import recorder
from tests.unit.cli.stacks import shoal, write

Captured = pytest.CaptureFixture[str]


def test_what_is_there_is_updated_and_what_is_new_is_made(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a}, b: {image: b}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 0
        assert capsys.readouterr().out.splitlines() == [
            *("Creating network s_default", "Creating service s_a", "Creating service s_b"),
        ]
        write(tmp_path, c_yaml="services: {a: {image: a}, c: {image: c}}")
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "--prune", "s") == 0
        assert capsys.readouterr().out.splitlines() == [
            *("Removing service s_b", "Updating service s_a (id: services-s_a)", "Creating service s_c"),
        ]
        assert set(made.made["services"]) == {"s_a", "s_c"}


def test_an_external_network_must_be_there(tmp_path: Path, capsys: Captured) -> None:
    write(tmp_path, c_yaml="services: {a: {image: a, networks: [n]}}\nnetworks: {n: {external: true}}")
    with recorder(tmp_path) as (url, made):
        assert shoal(url, "deploy", "-d", "-c", str(tmp_path / "c.yaml"), "s") == 1
        assert "there is no network n, which is external" in capsys.readouterr().err
        assert not made.made["services"]
