"""The one error that a person sees."""

from __future__ import annotations


class LabError(Exception):
    """Something went wrong outside the clouds. The message is one sentence that says what to do next."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]
