"""AWS's errors: one exception, the codes and wording of each family of services, and their shapes on the wire.

https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from xml.sax.saxutils import escape

from labkit.cloud.aws.signature import Credential, Rejected
from labkit.cloud.engine import errors as engine
from labkit.cloud.http import Response

#: Family of services that word errors alike.
FAMILIES = {
    "s3": "s3",
    "iam": "query",
    "sts": "query",
    "sns": "query",
    "sagemaker-runtime": "rest-json",
    "lambda": "rest-json",
    "scheduler": "rest-json",
}
_NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "sns": "http://sns.amazonaws.com/doc/2010-03-31/",
    "cloudwatch": "http://monitoring.amazonaws.com/doc/2010-08-01/",
}
#: SQS's errors by their shape's name -> the code of the query protocol, where the two differ.
QUEUE_CODES = {
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "PurgeQueueInProgress": "AWS.SimpleQueueService.PurgeQueueInProgress",
    "QueueDeletedRecently": "AWS.SimpleQueueService.QueueDeletedRecently",
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}
_MISMATCH = "The request signature we calculated does not match the signature you provided. Check "


class AwsError(engine.CloudError):
    """An error in AWS's words: ``code`` as clients see it, the HTTP ``status``, and members beside the message."""

    code: str

    def __init__(self, code: str, message: str, status: int = 400, **members: object) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.members = members
        #: Response headers that go with the error.
        self.headers: list[tuple[str, str]] = []


def family(service: str) -> str:
    """``s3``, ``query``, ``json`` or ``rest-json``."""
    return FAMILIES.get(service, "json")


# -- engine errors -------------------------------------------------------------------------------------------------

#: Engine error -> (code, HTTP status), for services that do not name their own.
_GENERIC: dict[type[engine.CloudError], tuple[str, int]] = {
    engine.Invalid: ("ValidationException", 400),
    engine.NotFound: ("ResourceNotFoundException", 400),
    engine.Conflict: ("ConflictException", 400),
    engine.LimitExceeded: ("LimitExceededException", 400),
    engine.Unauthenticated: ("MissingAuthenticationTokenException", 403),
    engine.Denied: ("AccessDeniedException", 400),
    engine.Throttled: ("ThrottlingException", 400),
    engine.Unavailable: ("ServiceUnavailable", 503),
    engine.TimedOut: ("RequestTimeout", 408),
    engine.Unsupported: ("NotImplemented", 501),
}
#: Codes that a service has of its own for an engine error.
_PER_SERVICE: dict[str, dict[type[engine.CloudError], tuple[str, int]]] = {
    "s3": {
        engine.Invalid: ("InvalidArgument", 400),
        engine.NotFound: ("NoSuchKey", 404),
        engine.Conflict: ("OperationAborted", 409),
        engine.Denied: ("AccessDenied", 403),
        engine.Unauthenticated: ("AccessDenied", 403),
        engine.Throttled: ("SlowDown", 503),
        engine.TimedOut: ("RequestTimeout", 400),
    },
    "iam": {
        engine.Invalid: ("ValidationError", 400),
        engine.NotFound: ("NoSuchEntity", 404),
        engine.Conflict: ("EntityAlreadyExists", 409),
        engine.LimitExceeded: ("LimitExceeded", 409),
        engine.Denied: ("AccessDenied", 403),
        engine.Unauthenticated: ("MissingAuthenticationToken", 403),
        engine.Throttled: ("Throttling", 400),
    },
    "sts": {
        engine.Invalid: ("ValidationError", 400),
        engine.Denied: ("AccessDenied", 403),
        engine.Unauthenticated: ("MissingAuthenticationToken", 403),
    },
    "sagemaker": {
        engine.NotFound: ("ValidationException", 400),
        engine.Conflict: ("ValidationException", 400),
        engine.LimitExceeded: ("ResourceLimitExceeded", 400),
        engine.Unauthenticated: ("MissingAuthenticationTokenException", 400),
    },
    "sagemaker-runtime": {
        engine.Invalid: ("ValidationError", 400),
        engine.NotFound: ("ValidationError", 400),
        engine.Denied: ("AccessDeniedException", 403),
        engine.Throttled: ("ThrottlingException", 400),
        engine.Unavailable: ("ServiceUnavailable", 503),
        engine.TimedOut: ("ModelError", 424),
        engine.ModelFailed: ("ModelError", 424),
    },
    "cloudwatch": {
        engine.Invalid: ("InvalidParameterValue", 400),
        engine.NotFound: ("ResourceNotFound", 404),
        engine.LimitExceeded: ("LimitExceeded", 400),
        engine.Denied: ("AccessDenied", 403),
        engine.Unauthenticated: ("MissingAuthenticationToken", 403),
    },
    "logs": {
        engine.Invalid: ("InvalidParameterException", 400),
        engine.Conflict: ("ResourceAlreadyExistsException", 400),
        engine.Unauthenticated: ("MissingAuthenticationTokenException", 400),
    },
    "sns": {
        engine.Invalid: ("InvalidParameter", 400),
        engine.NotFound: ("NotFound", 404),
        engine.Denied: ("AuthorizationError", 403),
        engine.Unauthenticated: ("MissingAuthenticationToken", 403),
    },
    "sqs": {
        engine.Invalid: ("InvalidParameterValue", 400),
        engine.Denied: ("AccessDenied", 403),
    },
    "lambda": {
        engine.Invalid: ("InvalidParameterValueException", 400),
        engine.NotFound: ("ResourceNotFoundException", 404),
        engine.Conflict: ("ResourceConflictException", 409),
        engine.Denied: ("AccessDeniedException", 403),
        engine.Throttled: ("TooManyRequestsException", 429),
        engine.StartFailed: ("ServiceException", 503),
        engine.Unavailable: ("ServiceException", 503),
    },
    "scheduler": {
        engine.NotFound: ("ResourceNotFoundException", 404),
        engine.Conflict: ("ConflictException", 409),
        engine.Denied: ("AccessDeniedException", 403),
    },
    "ecr": {
        engine.Invalid: ("InvalidParameterException", 400),
        engine.Unauthenticated: ("MissingAuthenticationTokenException", 400),
    },
}


def of_engine(error: engine.CloudError, service: str) -> AwsError:
    """An engine error as the service would name it."""
    if isinstance(error, AwsError):
        return error
    own = _PER_SERVICE.get(service, {})
    for kind in type(error).__mro__:
        code, status = own.get(kind) or _GENERIC.get(kind) or ("", 0)
        if code:
            return AwsError(error.code or code, error.message, status)
    return AwsError(error.code or "InternalFailure", error.message, 500)


def refusal(service: str, operation: str, why: str = "") -> AwsError:
    """What an operation that the kit does not serve answers: HTTP 501, in the service's own error shape."""
    sentence = why or f"The local clouds do not serve {service}:{operation} yet; see docs/fidelity.md."
    return AwsError(
        "NotImplemented" if family(service) in ("s3", "query") else "NotImplementedException", sentence, 501
    )


# -- signatures ----------------------------------------------------------------------------------------------------


def unauthenticated(service: str) -> AwsError:
    """The answer to a request without a credential."""
    return {
        "s3": AwsError("AccessDenied", "Access Denied", 403),
        "query": AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403),
        "json": AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", 400),
        "rest-json": AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", 403),
    }[family(service)]


def unknown_key(service: str, access_key: str) -> AwsError:
    """The answer to an access key id that does not exist (or is not active)."""
    kind = family(service)
    if kind == "s3":
        message = "The AWS Access Key Id you provided does not exist in our records."
        return AwsError("InvalidAccessKeyId", message, 403, AWSAccessKeyId=access_key)
    code, status = {"query": ("InvalidClientTokenId", 403), "json": ("UnrecognizedClientException", 400)}.get(
        kind, ("UnrecognizedClientException", 403)
    )
    return AwsError(code, "The security token included in the request is invalid.", status)


def bad_token(service: str, token: str) -> AwsError:
    """The answer to a session token that does not belong to the access key."""
    if family(service) == "s3":
        return AwsError(
            "InvalidToken", "The provided token is malformed or otherwise invalid.", 400, **{"Token-0": token}
        )
    return unknown_key(service, "")


def expired_token(service: str, token: str) -> AwsError:
    """The answer to temporary credentials whose time is over."""
    message = "The security token included in the request is expired"
    kind = family(service)
    if kind == "s3":
        return AwsError("ExpiredToken", "The provided token has expired.", 400, **{"Token-0": token})
    if kind == "query":
        return AwsError("ExpiredToken", message, 403)
    return AwsError("ExpiredTokenException", message, 400 if kind == "json" else 403)


def wrong_scope(service: str, credential: Credential, *, region: str, signed_as: str) -> AwsError | None:
    """The answer to a credential scope of another region or service, or None when both are right."""
    kind = family(service)
    if credential.service != signed_as:
        if kind != "s3":
            return _invalid_signature(kind, f"Credential should be scoped to correct service: '{signed_as}'. ")
        wrong = f'incorrect service "{credential.service}". This endpoint belongs to "s3".'
    elif credential.region != region:
        if kind != "s3":
            return _invalid_signature(
                kind, f"Credential should be scoped to a valid region, not '{credential.region}'. "
            )
        wrong = f"the region '{credential.region}' is wrong; expecting '{region}'"
    else:
        return None
    if credential.form == "query":
        message = f"Error parsing the X-Amz-Credential parameter; {wrong}"
        return AwsError("AuthorizationQueryParametersError", message, 400, Region=region)
    return AwsError(
        "AuthorizationHeaderMalformed", f"The authorization header is malformed; {wrong}", 400, Region=region
    )


def rejected(service: str, error: Rejected, credential: Credential | None) -> AwsError:
    """A signature that was not accepted, in the service's words."""
    return _rejected_by_s3(error, credential) if family(service) == "s3" else _rejected(family(service), error)


def _invalid_signature(kind: str, message: str) -> AwsError:
    if kind == "query":
        return AwsError("SignatureDoesNotMatch", message, 403)
    return AwsError("InvalidSignatureException", message, 400 if kind == "json" else 403)


def _rejected(kind: str, error: Rejected) -> AwsError:
    incomplete = "IncompleteSignature" if kind == "query" else "IncompleteSignatureException"
    if error.reason in ("malformed", "malformed-scope", "malformed-query"):
        return AwsError(incomplete, error.message, 403 if kind == "rest-json" else 400)
    if error.reason == "unsupported":
        code = "MissingAuthenticationToken" if kind == "query" else "MissingAuthenticationTokenException"
        return AwsError(code, "Request is missing Authentication Token", 403 if kind == "query" else 400)
    if error.reason == "scope-date":
        message = (
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: {error.message}"
        )
        return _invalid_signature(kind, message)
    if error.reason == "skewed":
        return _invalid_signature(kind, error.details["explanation"])
    if error.reason in ("presign-expired", "not-yet"):
        return _invalid_signature(kind, f"Signature expired: {error.details.get('stamp', '')}")
    if error.reason == "mismatch":
        message = (
            _MISMATCH + "your AWS Secret Access Key and signing method. Consult the service documentation for details."
        )
        if kind != "query" and error.details.get("CanonicalRequest"):
            message += (
                f"\n\nThe Canonical String for this request should have been\n'{error.details['CanonicalRequest']}'"
                f"\n\nThe String-to-Sign should have been\n'{error.details['StringToSign']}'\n"
            )
        return _invalid_signature(kind, message)
    return _invalid_signature(kind, error.message)


def _rejected_by_s3(error: Rejected, credential: Credential | None) -> AwsError:
    details = {name: value for name, value in error.details.items() if name[:1].isupper()}
    reason = error.reason
    if reason == "mismatch":
        members: dict[str, object] = {"AWSAccessKeyId": credential.access_key if credential else ""}
        for name, value in details.items():
            members[name] = value
            members[f"{name}Bytes"] = " ".join(f"{byte:02x}" for byte in value.encode())
        members["SignatureProvided"] = credential.signature if credential else ""
        return AwsError("SignatureDoesNotMatch", _MISMATCH + "your key and signing method.", 403, **members)
    if reason == "skewed":
        message = "The difference between the request time and the current time is too large."
        return AwsError("RequestTimeTooSkewed", message, 403, **details)
    if reason == "scope-date":
        message = (
            f'The authorization header is malformed; Invalid credential date "{error.details["date"]}". '
            f'This date is not the same as X-Amz-Date: "{error.details["stamp"][:8]}".'
        )
        return AwsError("AuthorizationHeaderMalformed", message, 400)
    if reason == "malformed-scope":
        message = (
            "The authorization header is malformed; the Credential is mal-formed; "
            'expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
        )
        return AwsError("AuthorizationHeaderMalformed", message, 400)
    code, status = {
        "malformed": ("AuthorizationHeaderMalformed", 400),
        "malformed-query": ("AuthorizationQueryParametersError", 400),
        "unsupported": ("InvalidArgument", 400),
        "no-payload-hash": ("InvalidRequest", 400),
        "bad-payload-hash": ("InvalidArgument", 400),
        "payload-mismatch": ("XAmzContentSHA256Mismatch", 400),
        "incomplete-body": ("IncompleteBody", 400),
        "no-length": ("MissingContentLength", 411),
        "malformed-trailer": ("MalformedTrailerError", 400),
        "bad-digest": ("BadDigest", 400),
        "v2-unsupported": ("InvalidRequest", 400),
    }.get(reason, ("AccessDenied", 403))
    return AwsError(code, error.message, status, **details)


# -- on the wire ---------------------------------------------------------------------------------------------------


def response(error: AwsError, service: str, protocol: str, request_id: str, *, head: bool = False) -> Response:
    """The error as the service sends it. A HEAD request's has no body: its status alone says what went wrong."""
    if service == "s3":
        sent = _s3(error, request_id, head=head)
    elif protocol == "query":
        sent = _query(error, service, request_id)
    else:
        sent = _json(error, service, request_id)
    sent.headers += error.headers
    return sent


def refused_host(sentence: str, protocol: str, request_id: str) -> Response:
    """The answer of a host that is not served, in the shape that clients of its protocol understand."""
    if protocol in ("query", "rest-xml"):
        return _query(AwsError("NotImplemented", sentence, 501), "", request_id)
    if protocol == "ec2":
        error = _xml({"Code": "NotImplemented", "Message": sentence})
        body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        return Response(501, [("content-type", "text/xml")], body.encode())
    return _json(AwsError("NotImplementedException", sentence, 501), "", request_id)


def _xml(members: Mapping[str, object]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in members.items())


def _s3(error: AwsError, request_id: str, *, head: bool) -> Response:
    host_id = f"labkit/{request_id}="
    headers = [("x-amz-request-id", request_id), ("x-amz-id-2", host_id)]
    if region := error.members.get("Region"):
        headers.append(("x-amz-bucket-region", str(region)))
    headers += [("content-type", "application/xml"), ("server", "AmazonS3")]
    members = {
        "Code": error.code,
        "Message": error.message,
        **error.members,
        "RequestId": request_id,
        "HostId": host_id,
    }
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{_xml(members)}</Error>'
    return Response(error.status, headers, b"" if head else body.encode())


def _query(error: AwsError, service: str, request_id: str) -> Response:
    fault = "Sender" if error.status < 500 else "Receiver"
    members = {"Type": fault, "Code": error.code, "Message": error.message, **error.members}
    body = (
        f'<ErrorResponse xmlns="{_NAMESPACES.get(service, "")}">\n'
        f"  <Error>{_xml(members)}</Error>\n  <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n"
    )
    return Response(error.status, [("x-amzn-requestid", request_id), ("content-type", "text/xml")], body.encode())


def _json(error: AwsError, service: str, request_id: str) -> Response:
    headers = [("x-amzn-requestid", request_id), ("x-amzn-errortype", error.code)]
    document: dict[str, object] = {"__type": error.code, "message": error.message, **error.members}
    content_type = "application/x-amz-json-1.1"
    if service == "cloudwatch":
        content_type = "application/x-amz-json-1.0"
        headers.append(("x-amzn-query-error", f"{error.code};{'Sender' if error.status < 500 else 'Receiver'}"))
    elif service == "sqs":
        # Clients know SQS's errors by the codes of its older protocol.
        content_type = "application/x-amz-json-1.0"
        code = QUEUE_CODES.get(error.code, error.code)
        document["__type"] = f"com.amazonaws.sqs#{error.code}"
        headers.append(("x-amzn-query-error", f"{code};{'Sender' if error.status < 500 else 'Receiver'}"))
    elif family(service) == "rest-json":
        content_type = "application/json"
        del document["__type"]
    headers.append(("content-type", content_type))
    return Response(error.status, headers, json.dumps(document, default=str).encode())
