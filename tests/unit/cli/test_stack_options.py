from shoal.cli.stack_options import Resolve


def test_the_ways_to_resolve_images_are_dockers() -> None:
    assert [each.value for each in Resolve] == ["always", "changed", "never"]
