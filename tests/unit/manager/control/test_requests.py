import pytest

from shoal.errors import InvalidArgument
from shoal.manager.control.requests import require, require_id


def test_what_is_missing_is_refused_in_swarms_words() -> None:
    require("id", True)
    with pytest.raises(InvalidArgument, match=r"^invalid argument$"):
        require("id", False)
    require_id("secret", "id")
    with pytest.raises(InvalidArgument, match=r"^secret ID must be provided$"):
        require_id("secret", "")
