"""Tables on standard output: for people, as far as their terminal has room, or plain."""

from collections.abc import Mapping, Sequence
from typing import IO

import click

Row = Sequence[str]

_GAP = 1  # columns between two cells


def print_plain_table(headings: Row, rows: Sequence[Row], file: IO[str]) -> None:
    """Prints a table whose lines other programs can take apart."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip(), file=file)


def print_rich_table(
    headings: Row,
    rows: Sequence[Row],
    styles: Mapping[int, str],
    file: IO[str],
    width: int | None,
) -> None:
    """Prints a table for people.

    Headings take several lines where that saves room, cells never do, and are never cut off: for a
    terminal that is too narrow for them this is the plain table.

    Args:
        headings: of the columns.
        rows: their cells.
        styles: of those rows that have one, by their position.
        file: where to print it.
        width: columns; those of the terminal if None.
    """
    # Importing it takes a tenth of a second, which only people's eyes are worth.
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column, Table  # noqa: PLC0415

    widths = [
        max(len(word) for word in (*heading.split(), *cells))
        for heading, *cells in zip(headings, *rows, strict=True)
    ]
    console = Console(file=file, width=width)
    if sum(widths) + _GAP * (len(widths) - 1) > console.width:
        print_plain_table(headings, rows, file)
        return
    columns = [Column(name, width=n) for name, n in zip(headings, widths, strict=True)]
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for position, row in enumerate(rows):
        table.add_row(*row, style=styles.get(position))
    console.print(table)
