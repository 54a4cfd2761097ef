"""What is raised when bytes are not what this layer once encoded."""


class MalformedError(ValueError):
    """The bytes are not a command, a reply or the contents of a table; the text says why."""
