"""The last line of defence for secrets: whatever leaves a front door as text passes here."""

from __future__ import annotations

import re
import sys

MASK = "***"

_USER_INFO = re.compile(r"(?<=://)[^/\s@`'\"]+:[^/\s@`'\"]+(?=@)")
_PARAMETER = re.compile(
    r"(?i)(?<![\w-])((?:sig|[\w-]*(?:signature|passw(?:or)?d|pwd|token|secret|credential|"
    r"(?:account|access|secret|shared|api|private)[_-]?key))\s*=\s*['\"]?)[^&\s;,`'\"]+"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")


def hidden(text: str) -> str:
    """A text without the secrets that this process has resolved, and without what looks like one.

    That is a login in a URI, a signature, a key or a token.

    Examples:
        >>> hidden("cannot reach https://lake.blob.core.windows.net/c?sv=2024&sig=abc%3D")
        'cannot reach https://lake.blob.core.windows.net/c?sv=2024&sig=***'
    """
    resolving = sys.modules.get("fuse_dagster.secrets")  # where nothing has loaded it, no secret was resolved
    if resolving is not None:
        text = resolving.scrub(text)
    text = _USER_INFO.sub(MASK, text)
    text = _PARAMETER.sub(rf"\1{MASK}", text)
    return _BEARER.sub(rf"\1{MASK}", text)
