"""Writes ``generated/``: descriptors and methods of Google's services, read from the installed client libraries.

Run ``python -m labkit.cloud.gcp.generate`` after the libraries were updated; a test says when that is due. The
libraries ship no servicers and take 10 s to import, so the server does without them: it reads the two files instead,
which hold what the libraries themselves send and expect. gRPC transports are asked for their methods through a channel
that only records; REST transports have their paths in ``_get_http_options``; types of long-running operations are where
clients unpack them.
"""

from __future__ import annotations

import ast
import gzip
import importlib
import inspect
import json
import pkgutil
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).with_name("generated")
DESCRIPTORS = FOLDER / "descriptors.binpb.gz"
METHODS = FOLDER / "methods.json"

#: API -> the client library's package with its services, and the distribution that it comes in.
LIBRARIES = {
    "aiplatform": ("google.cloud.aiplatform_v1", "google-cloud-aiplatform"),
    "monitoring": ("google.cloud.monitoring_v3", "google-cloud-monitoring"),
    "logging": ("google.cloud.logging_v2", "google-cloud-logging"),
    "cloudscheduler": ("google.cloud.scheduler_v1", "google-cloud-scheduler"),
    "cloudfunctions": ("google.cloud.functions_v2", "google-cloud-functions"),
    "cloudresourcemanager": ("google.cloud.resourcemanager_v3", "google-cloud-resource-manager"),
    "iam": ("google.cloud.iam_admin_v1", "google-cloud-iam"),
    "iamcredentials": ("google.cloud.iam_credentials_v1", "google-cloud-iam"),
}
#: Where the messages are of the methods that every API mixes in.
PLAIN = ("google.longrunning.operations_pb2", "google.iam.v1.iam_policy_pb2", "google.cloud.location.locations_pb2")
#: Properties of transports that are none of their methods.
NOT_METHODS = ("operations_client", "grpc_channel", "host", "kind")
#: Messages that no method names: what errors' details are, and entries of audit logs.
FURTHER = (
    "google.rpc.status_pb2",
    "google.rpc.error_details_pb2",
    "google.cloud.audit.audit_log_pb2",
    "google.iam.v1.logging.audit_data_pb2",
)


def _iam_bindings() -> dict[str, list[tuple[str, str, str]]]:
    """REST bindings of the IAM API: https://cloud.google.com/iam/docs/reference/rest"""
    accounts, account = "/v1/{name=projects/*}/serviceAccounts", "/v1/{name=projects/*/serviceAccounts/*}"
    keys, key = "/v1/{name=projects/*/serviceAccounts/*}/keys", "/v1/{name=projects/*/serviceAccounts/*/keys/*}"
    policy = "/v1/{resource=projects/*/serviceAccounts/*}"
    roles, role = "/v1/{parent=projects/*}/roles", "/v1/{name=projects/*/roles/*}"
    bindings = {
        "ListServiceAccounts": [("get", accounts, "")],
        "GetServiceAccount": [("get", account, "")],
        "CreateServiceAccount": [("post", accounts, "*")],
        "UpdateServiceAccount": [("put", account, "*")],
        "PatchServiceAccount": [("patch", "/v1/{service_account.name=projects/*/serviceAccounts/*}", "*")],
        "DeleteServiceAccount": [("delete", account, "")],
        "UndeleteServiceAccount": [("post", f"{account}:undelete", "*")],
        "EnableServiceAccount": [("post", f"{account}:enable", "*")],
        "DisableServiceAccount": [("post", f"{account}:disable", "*")],
        "ListServiceAccountKeys": [("get", keys, "")],
        "GetServiceAccountKey": [("get", key, "")],
        "CreateServiceAccountKey": [("post", keys, "*")],
        "UploadServiceAccountKey": [("post", f"{keys}:upload", "*")],
        "DeleteServiceAccountKey": [("delete", key, "")],
        "EnableServiceAccountKey": [("post", f"{key}:enable", "*")],
        "DisableServiceAccountKey": [("post", f"{key}:disable", "*")],
        "SignBlob": [("post", f"{account}:signBlob", "*")],
        "SignJwt": [("post", f"{account}:signJwt", "*")],
        "GetIamPolicy": [("post", f"{policy}:getIamPolicy", "")],
        "SetIamPolicy": [("post", f"{policy}:setIamPolicy", "*")],
        "TestIamPermissions": [("post", f"{policy}:testIamPermissions", "*")],
        "QueryGrantableRoles": [("post", "/v1/roles:queryGrantableRoles", "*")],
        "ListRoles": [("get", "/v1/roles", ""), ("get", roles, "")],
        "GetRole": [("get", "/v1/{name=roles/*}", ""), ("get", role, "")],
        "CreateRole": [("post", roles, "*")],
        "UpdateRole": [("patch", role, "role")],
        "DeleteRole": [("delete", role, "")],
        "UndeleteRole": [("post", f"{role}:undelete", "*")],
        "QueryTestablePermissions": [("post", "/v1/permissions:queryTestablePermissions", "*")],
        "QueryAuditableServices": [("post", "/v1/iamPolicies:queryAuditableServices", "*")],
        "LintPolicy": [("post", "/v1/iamPolicies:lintPolicy", "*")],
    }
    return {f"google.iam.admin.v1.IAM/{name}": bound for name, bound in bindings.items()}


#: REST bindings of services whose libraries speak gRPC only (verb, path, body), from their published interface:
#: https://cloud.google.com/monitoring/api/ref_v3/rest and https://cloud.google.com/logging/docs/reference/v2/rest
REST_ELSEWHERE: dict[str, list[tuple[str, str, str]]] = {
    "google.monitoring.v3.MetricService/ListTimeSeries": [("get", "/v3/{name=projects/*}/timeSeries", "")],
    "google.monitoring.v3.MetricService/CreateTimeSeries": [("post", "/v3/{name=projects/*}/timeSeries", "*")],
    "google.monitoring.v3.MetricService/CreateServiceTimeSeries": [
        ("post", "/v3/{name=projects/*}/timeSeries:createService", "*")
    ],
    "google.monitoring.v3.QueryService/QueryTimeSeries": [("post", "/v3/{name=projects/*}/timeSeries:query", "*")],
    "google.monitoring.v3.MetricService/ListMetricDescriptors": [
        ("get", "/v3/{name=projects/*}/metricDescriptors", "")
    ],
    "google.monitoring.v3.MetricService/GetMetricDescriptor": [
        ("get", "/v3/{name=projects/*/metricDescriptors/**}", "")
    ],
    "google.monitoring.v3.MetricService/CreateMetricDescriptor": [
        ("post", "/v3/{name=projects/*}/metricDescriptors", "metric_descriptor")
    ],
    "google.monitoring.v3.MetricService/DeleteMetricDescriptor": [
        ("delete", "/v3/{name=projects/*/metricDescriptors/**}", "")
    ],
    "google.monitoring.v3.MetricService/ListMonitoredResourceDescriptors": [
        ("get", "/v3/{name=projects/*}/monitoredResourceDescriptors", "")
    ],
    "google.monitoring.v3.MetricService/GetMonitoredResourceDescriptor": [
        ("get", "/v3/{name=projects/*/monitoredResourceDescriptors/*}", "")
    ],
    "google.monitoring.v3.AlertPolicyService/ListAlertPolicies": [("get", "/v3/{name=projects/*}/alertPolicies", "")],
    "google.monitoring.v3.AlertPolicyService/GetAlertPolicy": [("get", "/v3/{name=projects/*/alertPolicies/*}", "")],
    "google.monitoring.v3.AlertPolicyService/CreateAlertPolicy": [
        ("post", "/v3/{name=projects/*}/alertPolicies", "alert_policy")
    ],
    "google.monitoring.v3.AlertPolicyService/DeleteAlertPolicy": [
        ("delete", "/v3/{name=projects/*/alertPolicies/*}", "")
    ],
    "google.monitoring.v3.AlertPolicyService/UpdateAlertPolicy": [
        ("patch", "/v3/{alert_policy.name=projects/*/alertPolicies/*}", "alert_policy")
    ],
    "google.monitoring.v3.NotificationChannelService/ListNotificationChannels": [
        ("get", "/v3/{name=projects/*}/notificationChannels", "")
    ],
    "google.monitoring.v3.NotificationChannelService/GetNotificationChannel": [
        ("get", "/v3/{name=projects/*/notificationChannels/*}", "")
    ],
    "google.monitoring.v3.NotificationChannelService/CreateNotificationChannel": [
        ("post", "/v3/{name=projects/*}/notificationChannels", "notification_channel")
    ],
    "google.monitoring.v3.NotificationChannelService/DeleteNotificationChannel": [
        ("delete", "/v3/{name=projects/*/notificationChannels/*}", "")
    ],
    "google.logging.v2.LoggingServiceV2/WriteLogEntries": [("post", "/v2/entries:write", "*")],
    "google.logging.v2.LoggingServiceV2/ListLogEntries": [("post", "/v2/entries:list", "*")],
    "google.logging.v2.LoggingServiceV2/ListMonitoredResourceDescriptors": [
        ("get", "/v2/monitoredResourceDescriptors", "")
    ],
    "google.logging.v2.LoggingServiceV2/ListLogs": [("get", "/v2/{parent=projects/*}/logs", "")],
    "google.logging.v2.LoggingServiceV2/DeleteLog": [("delete", "/v2/{log_name=projects/*/logs/*}", "")],
    **_iam_bindings(),
}
#: (API, method) -> REST bindings beside those of the library: older versions of the API that take the same requests.
#: https://cloud.google.com/resource-manager/reference/rest/v1/projects and, for Vertex AI's endpoints,
#: https://cloud.google.com/vertex-ai/docs/general/endpoint-access-control
REST_BESIDE: dict[tuple[str, str], list[tuple[str, str, str]]] = {
    (api, f"{service}/{verb[0].upper()}{verb[1:]}"): [("post", f"{path}:{verb}", "*")]
    for api, service, path in (
        ("cloudresourcemanager", "google.cloud.resourcemanager.v3.Projects", "/v1/{resource=projects/*}"),
        ("aiplatform", "google.iam.v1.IAMPolicy", "/v1beta1/{resource=projects/*/locations/*/endpoints/*}"),
    )
    for verb in ("getIamPolicy", "setIamPolicy", "testIamPermissions")
} | {
    ("cloudresourcemanager", "google.cloud.resourcemanager.v3.Projects/GetProject"): [
        ("get", "/v1/{name=projects/*}", "")
    ]
}


@dataclass(slots=True)
class Found:
    """One method of one API, as its library has it. ``http`` holds (verb, path template, body) for each binding."""

    name: str
    request: str
    response: str
    streaming: str
    http: list[tuple[str, str, str]] = field(default_factory=list)
    operation: tuple[str, str] | None = None

    def written(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": self.name, "request": self.request, "response": self.response}
        if self.streaming != "unary_unary":
            entry["streaming"] = self.streaming
        if self.http:
            entry["http"] = self.http
        if self.operation:
            entry["operation"] = self.operation
        return entry


class _Recorder:
    """A gRPC channel that only notes what a transport asks it for."""

    def __init__(self, files: dict[str, Any]) -> None:
        self.files = files
        self.last: Found | None = None

    def __getattr__(self, streaming: str) -> Any:
        from google.protobuf import empty_pb2

        def note(name: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
            request = getattr(request_serializer, "__self__", None) or _plain_request(name)
            # Where the answer is empty, a transport does not care to read it.
            response = getattr(response_deserializer, "__self__", empty_pb2.Empty)
            types = _note(request, self.files), _note(response, self.files)
            self.last = Found(name.removeprefix("/"), *types, streaming)
            return lambda *_: None

        return note


def _plain_request(name: str) -> Any:
    """The request of a method whose messages are plain protobuf, whose serializer does not say of what it is."""
    request = f"{name.rpartition('/')[2]}Request"
    return next(getattr(module, request) for module in map(importlib.import_module, PLAIN) if hasattr(module, request))


def _note(kind: Any, files: dict[str, Any]) -> str:
    """The message's full name; its file and those that this needs are added to ``files``, the needed ones first."""
    descriptor = kind.DESCRIPTOR if hasattr(kind, "DESCRIPTOR") else kind.pb().DESCRIPTOR
    _add(descriptor.file, files)
    return str(descriptor.full_name)


def _add(file: Any, files: dict[str, Any]) -> None:
    if file.name not in files:
        for each in sorted(file.dependencies, key=lambda needed: needed.name):
            _add(each, files)
        files[file.name] = file


def _methods(package: ModuleType, files: dict[str, Any]) -> Iterator[Found]:
    services = importlib.import_module(f"{package.__name__}.services")
    for _, name, _ in pkgutil.iter_modules(services.__path__):
        base = f"{services.__name__}.{name}"
        transport = _class(importlib.import_module(f"{base}.transports.grpc"), "GrpcTransport")
        client = _class(importlib.import_module(f"{base}.client"), "Client")
        rest = _rest(base)
        recorder = _Recorder(files)
        made = transport.__new__(transport)
        made._stubs, made._logged_channel = {}, recorder
        for attribute, value in inspect.getmembers(transport, lambda member: isinstance(member, property)):
            if attribute in NOT_METHODS:
                continue
            recorder.last = None
            value.fget(made)
            if recorder.last is None:
                continue
            found = recorder.last
            found.http = _bindings(rest, found.name)
            found.operation = _operation(client, attribute, files)
            yield found


def _class(module: ModuleType, ending: str) -> Any:
    return next(
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and name.endswith(ending) and value.__module__ == module.__name__
    )


def _rest(base: str) -> Any:
    try:
        return _class(importlib.import_module(f"{base}.transports.rest_base"), "RestTransport")
    except ModuleNotFoundError:
        return None


def _bindings(rest: Any, name: str) -> list[tuple[str, str, str]]:
    if own := REST_ELSEWHERE.get(name):
        return own
    method: Any = getattr(rest, f"_Base{name.rpartition('/')[2]}", None)
    if not hasattr(method, "_get_http_options"):
        return []
    options = method._get_http_options()
    # Those below /ui are the console's own.
    return [
        (each["method"], each["uri"], each.get("body", "")) for each in options if not each["uri"].startswith("/ui/")
    ]


def _operation(client: Any, method: str, files: dict[str, Any]) -> tuple[str, str] | None:
    """The response and metadata types of a method that answers a long-running operation, from where a client says."""
    function = getattr(client, method, None)
    if function is None:
        return None
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_gapic":
            metadata = next(each.value for each in node.keywords if each.arg == "metadata_type")
            names = inspect.getmodule(function).__dict__
            kinds = [eval(compile(ast.Expression(each), "", "eval"), names) for each in (node.args[2], metadata)]
            return _note(kinds[0], files), _note(kinds[1], files)
    return None


def _mixed_in(found: Iterable[Found]) -> list[Found]:
    """One entry a method: services of one API share those that are mixed in (operations, locations, policies)."""
    methods: dict[str, Found] = {}
    for each in found:
        known = methods.setdefault(each.name, each)
        known.http += [binding for binding in each.http if binding not in known.http]
    return [methods[name] for name in sorted(methods)]


def read() -> tuple[bytes, str]:
    """What the two files have to hold: a serialized ``FileDescriptorSet`` and the table of methods."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    files: dict[str, Any] = {}
    apis = {}
    for api, (package, _) in LIBRARIES.items():
        methods = _mixed_in(_methods(importlib.import_module(package), files))
        for each in methods:
            each.http = [*each.http, *REST_BESIDE.get((api, each.name), [])]
        apis[api] = [each.written() for each in methods]
    for name in FURTHER:
        _add(importlib.import_module(name).DESCRIPTOR, files)
    written = FileDescriptorSet()
    for file in files.values():
        each = written.file.add()
        file.CopyToProto(each)
        # What a file's options say is for those who generate code from it.
        each.ClearField("options")
        # The libraries put these together in another order each time that they are imported.
        for repeated in (each.dependency, each.message_type, each.enum_type):
            repeated.sort(key=lambda entry: getattr(entry, "name", entry))
    return written.SerializeToString(deterministic=True), _table(apis)


def _table(apis: dict[str, list[dict[str, Any]]]) -> str:
    """JSON with one method a line, so that a difference shows what an update has changed."""
    parts = []
    for api, methods in apis.items():
        lines = ",\n".join(f"  {json.dumps(each)}" for each in methods)
        parts.append(f'"{api}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    """Writes the two files."""
    descriptors, methods = read()
    FOLDER.mkdir(exist_ok=True)
    DESCRIPTORS.write_bytes(gzip.compress(descriptors, mtime=0))
    METHODS.write_text(methods, encoding="utf-8")


if __name__ == "__main__":
    main()
