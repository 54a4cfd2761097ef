"""The course's checks of what clients have appended."""

from quorate.lab.errors import CheckFailedError


def element(client: int, number: int) -> str:
    """What a client appends: one text for each client and number, none within another."""
    return f"x {client} {number} y"


def check_appends(client: int, value: str, count: int) -> None:
    """Each of a client's elements 0 to `count` - 1 occurs once, in order.

    Raises:
        CheckFailedError: in the words of the course.
    """
    last = -1
    for number in range(count):
        wanted = element(client, number)
        place = value.find(wanted)
        if place < 0:
            raise CheckFailedError(f"{client} missing element {wanted} in Append result {value}")
        if value.rfind(wanted) != place:
            raise CheckFailedError(f"duplicate element {wanted} in Append result")
        if place <= last:
            raise CheckFailedError(f"wrong order for element {wanted} in Append result")
        last = place
