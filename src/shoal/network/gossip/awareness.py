"""How well this node itself is: the worse, the more patient it is with others.

Pure. Source: Lifeguard (arXiv:1707.00788); gossip.md 1.9.
"""

MAX_SCORE = 7  # memberlist's awareness multiplier 8, less one


class Awareness:
    """A score from 0, well, to `MAX_SCORE`."""

    def __init__(self) -> None:
        self.score = 0

    def add(self, delta: int) -> None:
        """Change the score, within its bounds."""
        self.score = min(MAX_SCORE, max(0, self.score + delta))

    def scale(self, seconds: float) -> float:
        """Return a time as long as this node's health makes it."""
        return seconds * (self.score + 1)
