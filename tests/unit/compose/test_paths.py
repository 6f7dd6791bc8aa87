from shoal.compose.kinds import Where
from shoal.compose.limits import Limits
from shoal.compose.paths import absolute, context, joined
from tests.unit.compose.files import Memory

WHERE = Where("/base", "/home/me", Limits(Memory({})))


def test_paths_are_relative_to_the_folder_of_their_file() -> None:
    assert absolute("./x/../y", WHERE) == "/base/y"
    assert absolute("../y", WHERE) == "/y"
    assert absolute("/tidy/../as/it/is/", WHERE) == "/tidy/../as/it/is/"
    assert absolute("~/x", WHERE) == "/home/me/x"
    assert joined("/a", "C:\\x", "/h") == "C:\\x"


def test_a_build_may_come_from_elsewhere() -> None:
    assert context("https://x/y.git", WHERE) == "https://x/y.git"
    assert context("dir", WHERE) == "/base/dir"
