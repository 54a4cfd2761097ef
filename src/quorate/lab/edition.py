"""The editions of the course's suite: it changed a little every year.

An edition decides titles, columns, and sizes of clusters. Tests that only later editions have run
in all of them here, and each check is the strictest that any edition has.
"""

import enum


class Edition(enum.IntEnum):
    """The year; 2018 is the one of the handout."""

    Y2018 = 2018
    Y2020 = 2020
    Y2021 = 2021
    Y2022 = 2022
