"""The yardstick: the same model and the same inference code behind a bare ASGI app, as one would serve it by hand."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

_folder = Path(os.environ["BENCH_MODEL"])
_spec = importlib.util.spec_from_file_location("inference", _folder / "inference.py")
assert _spec is not None
assert _spec.loader is not None
inference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(inference)
model = inference.model_fn(str(_folder))


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = inference.output_fn(
        inference.predict_fn(inference.input_fn(body, "application/json"), model), "application/json"
    )
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.encode()})
