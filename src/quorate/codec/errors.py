"""What is raised when bytes are not what they should be."""


class DecodeError(ValueError):
    """The bytes are not a well-formed value of the expected kind; the text says why."""
