"""A mark that changes when the clouds' code does, so that a server that runs older code can be told."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def code_version() -> str:
    """The mark of the code in ``labkit/cloud``, as it was when this process first asked."""
    root = Path(__file__).parent
    mark = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        found = file.stat()
        mark.update(f"{file.relative_to(root)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return mark.hexdigest()[:12]
