"""How a test of the lab fails."""


class CheckFailedError(AssertionError):
    """A check of the course has failed; the text is the course's own."""
