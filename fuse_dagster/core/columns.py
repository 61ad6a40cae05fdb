"""What a column is for: a key, a secret, a sentence that explains it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Properties of one column, declared beside the table and shown wherever the table is.

    Attributes:
        description: One sentence for whoever meets the column in a catalog.
        key: Part of the business key.
        mask: Never shown: its values appear as `***` in previews and samples.
        tags: Further labels, shown with the column.

    Examples:
        >>> Column(description="ICAO code of the airport", key=True).key
        True
    """

    description: str = ""
    key: bool = False
    mask: bool = False
    tags: tuple[str, ...] = ()
