import pytest

from shoal.cli import output


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (999, "999 B"), (11_980, "11.98 kB"), (1_234_567_890, "1.235 GB")]
)
def test_sizes_are_as_docker_prints_them(size_bytes: int, text: str) -> None:
    assert output.human_size(size_bytes) == text


def test_objects_are_counted_by_kind() -> None:
    assert output.counted({"tasks": 3, "clusters": 1, "services": 2}) == "6: 1 cluster, 2 services, 3 tasks"
    assert output.counted({}) == "0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2023-11-14T22:13:20.5Z", "2023-11-14 22:13:20 UTC"),
        ("2023-11-14T22:13:20.123456789+02:00", "2023-11-14 20:13:20 UTC"),
        ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00 UTC"),
        ("0001-01-01T00:00:00+02:00", "0001-01-01T00:00:00+02:00"),
        ("yesterday", "yesterday"),
        ("", ""),
    ],
)
def test_moments_are_in_utc_and_other_texts_as_they_are(text: str, shown: str) -> None:
    assert output.moment(text) == shown


def test_texts_are_shortened_as_docker_does() -> None:
    assert output.shortened(5)("12345") == "12345"
    assert output.shortened(5)("123456") == "1234…"
    assert output.short_id("x" * 25) == "x" * 12


def test_names_are_sorted_by_their_numbers() -> None:
    names = ["web.10", "web.2", "", "10", "9", "web", "web.2a", "web." + "9" * 40]
    assert sorted(names, key=output.natural) == ["", "9", "10", "web", "web.2", "web.2a", "web.10", "web." + "9" * 40]


def test_progress_hands_on_what_it_counts() -> None:
    assert list(output.progress(iter([b"a", b"b"]), None, "saving")) == [b"a", b"b"]
