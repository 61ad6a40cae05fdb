"""Names in messages: quoting them, and the nearest valid one for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, valid: Iterable[str], *, limit: int = 20) -> str:
    """Finish a message about an unknown name.

    Args:
        name: The name that was not found.
        valid: The names that exist.
        limit: How many of the valid names to list where none is close.

    Returns:
        A sentence that starts with a capital and ends with a full stop.

    Examples:
        >>> did_you_mean("icoa", ["icao", "iata"])
        'Did you mean `icao`? Valid: `iata`, `icao`.'
    """
    names = sorted(set(valid))
    listed = listing(names, limit=limit)
    same = [one for one in names if one.lower() == name.lower()]
    close = same or get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean `{close[0]}`? Valid: {listed}."
    return f"Valid: {listed}."


def listing(names: Iterable[object], *, limit: int = 20) -> str:
    """Write names in backticks, the first `limit` of them and a count of the rest; `(none)` for no names."""
    quoted = [f"`{name}`" for name in names]
    if not quoted:
        return "(none)"
    rest = len(quoted) - limit
    return ", ".join(quoted[:limit]) + (f" and {rest} more" if rest > 0 else "")
