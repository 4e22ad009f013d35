"""Resource names: ``projects/p/locations/us-central1/endpoints/42`` and their parts. https://google.aip.dev/122"""

from __future__ import annotations


def parse(name: str) -> dict[str, str]:
    """Collection -> id. A full name's service (``//aiplatform.googleapis.com/``) and a lone last part are left out."""
    if name.startswith("//"):
        name = name[2:].partition("/")[2]
    parts = name.split("/")
    return dict(zip(parts[::2], parts[1::2], strict=False))
