"""``docs/fidelity.md``: what is served, and how far, a part for each cloud.

Each part is written from the tables that decide it at run time, by ``python -m labkit.cloud.fidelity``; a test fails
when the file is out of date.
"""

from __future__ import annotations

import importlib
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "fidelity.md"
#: The clouds with a module ``labkit.cloud.<name>.fidelity``, whose ``section()`` is their part.
CLOUDS = ("aws", "azure", "gcp")

_HEAD = """\
<!-- written by `python -m labkit.cloud.fidelity`, do not edit -->
# What is served, and how far

The local clouds do what an operation says, or refuse it; they never pretend.

* **Works**: does what the vendor documents, within the limits that its note names.
* **Shape only**: keeps a record, and that record is the whole effect here.
* **Refused**: answers with an error in the service's own shape that names the operation: HTTP 501, `NotImplemented`
  (AWS's JSON services say `NotImplementedException`). Parameters that ask for what is not done are refused in the same
  way.
"""


def document() -> str:
    """The whole file."""
    parts = [importlib.import_module(f"labkit.cloud.{name}.fidelity").section() for name in CLOUDS]
    return "\n".join([_HEAD, *parts])


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
