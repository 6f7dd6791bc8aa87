from tests.unit.compose.files import project


def test_a_project_is_shown_as_compose_shows_it() -> None:
    found = project("x-y: [1]\nservices: {web: {image: a}}\nsecrets: {s: {file: f}}")
    assert found.canonical() == {
        "name": "p",
        "services": {"web": {"image": "a", "networks": {"default": None}}},
        "networks": {"default": {"name": "p_default"}},
        "secrets": {"s": {"name": "p_s", "file": "/project/f"}},
        "x-y": [1],
    }
