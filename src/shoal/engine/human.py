"""Durations in words, as `docker ps` shows them. Source: docker/go-units duration.go (`HumanDuration`)."""


def human_duration(length: float) -> str:
    """Return a length in seconds in Docker's words: `About a minute`, `3 hours`."""
    seconds = int(length)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(length / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for limit, name, unit in (
        (24 * 7 * 2, "days", 24),
        (24 * 30 * 2, "weeks", 24 * 7),
        (24 * 365 * 2, "months", 24 * 30),
    ):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{int(length / 3600) // (24 * 365)} years"
