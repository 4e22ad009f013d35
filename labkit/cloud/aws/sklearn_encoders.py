"""The array formats of SageMaker's scikit-learn container: JSON, CSV and NPY.

They do what sagemaker-containers 2.8.6 does, which is what that container's default ``input_fn`` and ``output_fn``
call: https://github.com/aws/sagemaker-containers/blob/master/src/sagemaker_containers/_encoders.py. NPY arrays of
Python objects are refused, as the vendor's newer images do
(https://github.com/aws/sagemaker-scikit-learn-container/pull/266): reading one would run what its sender pickled.

numpy is imported only when an array is made: this runs in a model replica's own process.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

JSON = "application/json"
CSV = "text/csv"
NPY = "application/x-npy"
#: Bodies of these types reach ``input_fn`` as text, all others as bytes.
TEXT_TYPES = (JSON, CSV)


class UnsupportedFormatError(Exception):
    """The content type is none of the three."""

    def __init__(self, content_type: str) -> None:
        super().__init__(
            f"Content type {content_type} is not supported by this framework.\n\n"
            "Please implement input_fn to to deserialize the request data or an output_fn to\n"
            "serialize the response. For more information, see the SageMaker Python SDK README."
        )


def decode(body: str | bytes, content_type: str) -> numpy.ndarray:
    """The array in a request's body; raises :class:`UnsupportedFormatError`, or ValueError for a malformed body."""
    decoder = _DECODERS.get(content_type)
    if decoder is None:
        raise UnsupportedFormatError(content_type)
    return decoder(body)


def encode(array: Any, content_type: str) -> str | bytes:
    """A prediction (an array, or what can be made one) in a format; raises :class:`UnsupportedFormatError`."""
    encoder = _ENCODERS.get(content_type)
    if encoder is None:
        raise UnsupportedFormatError(content_type)
    return encoder(array)


def _from_json(body: Any) -> numpy.ndarray:
    import numpy

    return numpy.array(json.loads(body))


def _from_csv(body: Any) -> numpy.ndarray:
    import numpy

    rows = list(csv.reader(io.StringIO(body), strict=True))
    # A single row or a single column comes out with one dimension: that is what the container does.
    array = numpy.array(rows).squeeze()
    try:
        return array.astype(None)
    except ValueError:
        return array


def _from_npy(body: Any) -> numpy.ndarray:
    import numpy

    return numpy.load(io.BytesIO(body), allow_pickle=False)


def _to_json(array: Any) -> str:
    return json.dumps(array, default=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return json.JSONEncoder().default(value)


def _to_csv(array: Any) -> str:
    import numpy

    array = numpy.array(array)
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n", strict=True).writerows(array)
    return stream.getvalue()


def _to_npy(array: Any) -> bytes:
    import numpy

    stream = io.BytesIO()
    numpy.save(stream, array, allow_pickle=False)
    return stream.getvalue()


_DECODERS: dict[str, Callable[[Any], numpy.ndarray]] = {JSON: _from_json, CSV: _from_csv, NPY: _from_npy}
_ENCODERS: dict[str, Callable[[Any], str | bytes]] = {JSON: _to_json, CSV: _to_csv, NPY: _to_npy}
