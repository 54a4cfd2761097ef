"""One life of a simulated cluster as a web page: what each server was, said and suffered.

The page is one file that loads nothing. Its looks and its behaviour are in the folder `assets`;
this module puts them and the recording together.
"""

import importlib.resources
import re

import msgspec

from quorate.sim.recording import Call, Mark, Message, Recording, ServerState

_FIELDS = {
    "states": ServerState.__struct_fields__,
    "messages": Message.__struct_fields__,
    "marks": Mark.__struct_fields__,
    "calls": Call.__struct_fields__,
}


class _Page(msgspec.Struct):
    """What the page is about.

    Attributes:
        title: which life.
        replay: the command that lives it again; empty if there is none.
        fields: of the rows of each list in the recording, which are arrays.
        life: the recording.
    """

    title: str
    replay: str
    fields: dict[str, tuple[str, ...]]
    life: Recording


def render(recording: Recording, *, title: str, replay: str = "") -> str:
    """A page on one life, as HTML.

    Args:
        recording: of the life.
        title: which life it is, as a short text.
        replay: the command that lives it again.
    """
    data = msgspec.json.encode(_Page(title, replay, _FIELDS, recording)).decode()
    # So that nothing in the recording can end the script that holds it.
    data = data.replace("<", "\\u003c")
    return re.sub(
        r"/\*([\w.]+)\*/",
        lambda found: data if found[1] == "DATA" else _part(found[1]),
        _part("page.html"),
    )


def _part(name: str) -> str:
    return importlib.resources.files(__package__).joinpath("assets", name).read_text("utf-8")
