"""The one error that a person sees."""

from __future__ import annotations

import textwrap


class LabError(Exception):
    """Something went wrong outside the clouds. The message is one sentence that says what to do next."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback, in lines that a notebook need not break within a word."""
        return textwrap.wrap(str(self), 95, break_long_words=False, break_on_hyphens=False)
