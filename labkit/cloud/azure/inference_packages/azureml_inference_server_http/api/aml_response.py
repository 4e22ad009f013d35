"""Responses that a scoring script makes itself.

https://learn.microsoft.com/azure/machine-learning/how-to-deploy-advanced-entry-script#binary-or-image-data
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Response


class AMLResponse(Response):
    """An answer with a status and headers of its own.

    ``message`` is the body, made JSON with ``json_str``; without a message the body is ``{}``. A header's value is
    split at commas into fields of its own.
    """

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: Mapping[str, str] | None = None,
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        headers = response_headers or {}
        if message is None or json_str:
            body = json.dumps({} if message is None else message)
            super().__init__(body, status=status_code, mimetype="application/json")
        else:
            super().__init__(message, status=status_code)
            if "Content-Type" in headers:
                self.headers.remove("Content-Type")
        self.headers["x-ms-run-function-failed"] = str(run_function_failed)
        for name, value in headers.items():
            for part in value.split(","):
                self.headers.add(name, part.strip())
