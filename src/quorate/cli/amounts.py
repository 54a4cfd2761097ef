"""Sizes and durations as people read them, in a few characters."""

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def shown_bytes(size: int) -> str:
    """A number of bytes, such as `12.3 MiB`."""
    for unit, bytes_ in _UNITS:
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} B"


def shown_share(done: int, size: int) -> str:
    """How much of a whole is done, such as `1.5 of 12.3 MiB`."""
    whole, part = shown_bytes(size), shown_bytes(done)
    unit = whole.partition(" ")[2]
    if not done:
        return f"0 of {whole}"
    return f"{part.removesuffix(f' {unit}')} of {whole}"


def shown_duration(milliseconds: int) -> str:
    """A duration, such as `90 s` or `3.5 h`."""
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 120 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} d"
