from shoal.cli.errors import reason


def test_a_reason_reads_in_the_middle_of_a_line() -> None:
    assert reason(FileNotFoundError(2, "No such file or directory", "/x")) == "no such file or directory"
    assert reason(OSError("AF_UNIX path too long")) == "AF_UNIX path too long"
