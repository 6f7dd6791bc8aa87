from shoal.compose.errors import ComposeError, Place, Warned


def test_an_error_names_file_line_column_and_key() -> None:
    error = ComposeError(Place("compose.yaml", 3, 5), "services.web.image", "must be text")
    assert str(error) == "compose.yaml:3:5: services.web.image: must be text"
    assert str(ComposeError(Place("compose.yaml"), "", "is empty")) == "compose.yaml: is empty"
    assert str(Warned(Place("a", 1), "x", "y")) == "a:1: x: y"
    assert str(Warned(Place("a", 1), "", "y")) == "a:1: y"
