"""Histories known to be good and bad, drawn as time lines."""

from collections.abc import Callable

import pytest

from quorate.checker import Operation, Outcome, check

Drawn = Callable[[str], list[Operation]]

GOOD = {
    "nothing happened": "",
    "one after another": """
        A: [put a] [get a] [append b] [get ab] [delete] [get -]
    """,
    "a missing key reads as missing, or as empty": """
        A: [get -] [get ]
    """,
    "an empty value reads as empty": """
        A: [put ] [get ]
    """,
    "an append to a missing key is a put": """
        A: [append a] [get a]
    """,
    # Herlihy and Wing 1990, figure 1, for a register: overlapping operations in either order.
    "a read beside a write sees it": """
        A: [put a      ]
        B:   [get a]
    """,
    "a read beside a write does not see it": """
        A: [put a      ]
        B:   [get -]
    """,
    "one read beside a write sees it and a concurrent one does not": """
        A: [put a             ]
        B:    [get a     ]
        C:    [get -   ]
    """,
    "concurrent writes, in the order of neither their calls nor their returns": """
        A: [put a           ]
        B:   [put b      ]
        C:     [put c         ]
        D:                      [get b]
    """,
    "appends in the order that a later read tells": """
        A: [append a   ]
        B: [append b   ]
        C: [append c   ]
        D:              [get bca]
    """,
    "a pending write that happened": """
        A: [put a ...
        B:            [get a] [get a]
    """,
    "a pending write that never happened": """
        A: [put a ...
        B:            [get -] [get -]
    """,
    "a pending write that happened late": """
        A: [put a ...
        B:            [get -] [put b] [get b] [get a]
    """,
    "a pending read tells nothing": """
        A: [get a ...
        B:    [put b] [get b]
    """,
    "a pending append that happened between two reads": """
        A: [append a] [append b ...
        B:              [get a]  [append c] [get acb]
    """,
    "what returns at the instant of a call is concurrent with it": """
        A: [put a]
        B:       [get -]
    """,
    "a write that was overwritten unseen": """
        A: [put a  ]
        B:  [put b]
        C:          [get b]
    """,
    # An optional write that is needed just before its return, after something called late.
    "a write that could have been overwritten but was not": """
        A: [delete  ]
        B:    [append b        ]
        C:                [append a ...
        D:   [get ]               [get ab]
    """,
    "of two equal appends, the one that returns later is the one that happened": """
        A: [append a               ]
        B:  [put p]
        C:           [append a          ]
        D:             [get pa]
        E:                                [get pa]
    """,
    "an append that follows a pending put of the same": """
        A:     [put a ...
        B:   [append a   ]
        C: [get aa  ]
    """,
    "the same value twice, by way of a delete": """
        A: [append a] [get a] [delete] [append a] [get a]
    """,
    "a put of nothing that only a length tells of": """
        A: [append aa]
        B:             [append b =1]
        C:             [put            ]
    """,
    "lengths and counts": """
        A: [append ab =2] [append c =3] [delete =1] [delete =0]
    """,
    "lengths that tell the order": """
        A: [append a =3     ]
        B: [append bc =2    ]
        C:                    [get bca]
    """,
}

BAD = {
    "a read of what nobody wrote": ("A: [put a] [get b]", "get"),
    "an acknowledged write is lost": ("A: [put a] [get -]", "get"),
    "a stale read": (
        """
        A: [put a] [put b]
        B:                  [get a]
        """,
        "get",
    ),
    "a lost update": (
        """
        A: [append a   ]
        B: [append b   ]
        C:              [get b]
        """,
        "get",
    ),
    "a doubled append": ("A: [append a] [get aa]", "get"),
    "an append applied twice, the second time late": (
        "A: [append a] [append b] [get ab] [get aba]",
        "get",
    ),
    "appends against their order": ("A: [append a] [append b] [get ba]", "get"),
    "two reads that see two appends in different orders": (
        """
        A: [append a                 ]
        B: [append b                 ]
        C:           [get ab]
        D:           [get ba]
        """,
        "get",
    ),
    # Read inversion: what the first read saw is forgotten by the second.
    "a read of a write in flight, and then not": (
        """
        A: [put a                 ]
        B:    [get a] [get -]
        """,
        "get",
    ),
    "a read of a pending write, and then not": (
        """
        A: [put a ...
        B:     [get a] [get -]
        """,
        "get",
    ),
    "a pending write that happens twice": (
        """
        A: [put a ...
        B:     [get a] [put b] [get b] [get a]
        """,
        "get",
    ),
    "a pending write that happened before its call": (
        """
        A:          [put a ...
        B: [get a]
        """,
        "get",
    ),
    "a deleted key is back": ("A: [put a] [delete] [get a]", "get"),
    "an empty value is no missing key": ("A: [put ] [get -]", "get"),
    "a wrong length": ("A: [append a =1] [append b =3]", "append"),
    "a wrong count": ("A: [delete =1]", "delete"),
    "lengths that contradict each other": (
        """
        A: [append a =1     ]
        B: [append b =1     ]
        """,
        "append",
    ),
}


@pytest.mark.parametrize("picture", GOOD.values(), ids=GOOD)
def test_a_good_history_has_a_linearization(drawn: Drawn, picture: str) -> None:
    verdict = check(drawn(picture))
    assert verdict.outcome is Outcome.OK
    assert verdict.worst is None


@pytest.mark.parametrize(("picture", "blocked"), BAD.values(), ids=BAD)
def test_a_bad_history_has_none(drawn: Drawn, picture: str, blocked: str) -> None:
    verdict = check(drawn(picture))
    assert verdict.outcome is Outcome.ILLEGAL
    assert verdict.worst is not None
    assert verdict.worst.blocked is not None
    assert verdict.worst.blocked.kind == blocked


def test_where_it_broke(drawn: Drawn) -> None:
    history = drawn("""
        A: [put a] [append b] [get b ] [get ab]
        B:    [get a]                            [append c] [get a]
    """)
    worst = check(history).worst
    assert worst is not None
    assert worst.blocked == history[2]
    assert worst.linearization == (history[0], history[4], history[1])


def test_what_returns_later_is_not_to_blame_for_what_came_before(drawn: Drawn) -> None:
    history = drawn("""
        A: [put a] [put b] [put c  ]
        B:                   [get a    ]
    """)
    worst = check(history).worst
    assert worst is not None
    assert worst.blocked == history[3]
    assert worst.linearization == tuple(history[:3])


def test_keys_are_independent(drawn: Drawn) -> None:
    def on(key: bytes, picture: str) -> list[Operation]:
        return [
            Operation(
                client=o.client,
                kind=o.kind,
                key=key,
                argument=o.argument,
                result=o.result,
                called=o.called,
                returned=o.returned,
            )
            for o in drawn(picture)
        ]

    late, early = "A: [put a] [get a] [get b]", "A: [get b]"
    good = on(b"1", "A: [put a] [get a]")
    verdict = check([*good, *on(b"2", late), *on(b"3", early)])
    assert [k.outcome.value for k in verdict.keys] == ["ok", "illegal", "illegal"]
    assert verdict.worst is not None
    assert verdict.worst.key == b"3"
    assert check(good).outcome is Outcome.OK
