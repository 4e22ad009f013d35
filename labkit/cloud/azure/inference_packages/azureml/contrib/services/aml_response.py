"""Responses of a script's own under the name that version 1 of the SDK had for them."""

from azureml_inference_server_http.api.aml_response import AMLResponse

__all__ = ["AMLResponse"]
