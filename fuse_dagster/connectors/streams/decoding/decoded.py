"""What decoding gives, and what it raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Decoded:
    """The value of a message's key or value.

    Attributes:
        value: A dict for a record; else what Python has for it.
        type: Of Arrow, where a schema says it; of a record that of each field whose type is said. What is not said
            shows in the values only.
    """

    value: Any
    type: pa.DataType | Mapping[str, pa.DataType] | None = None

    @property
    def is_record(self) -> bool:
        """Whether it has fields."""
        return isinstance(self.value, dict)

    def types(self) -> Mapping[str, pa.DataType]:
        """The type of each field of a record, as far as they are said."""
        if isinstance(self.type, Mapping):
            return self.type
        return {} if self.type is None else {one.name: one.type for one in self.type}


class UndecodableError(ValueError):
    """A message that is not what it is said to be; the others go on. Its words are for people, and hold no value."""
