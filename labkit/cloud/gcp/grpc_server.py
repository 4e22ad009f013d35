"""The gRPC server on loopback: every method of every API through one handler, its messages read by the front's table.

It speaks TLS with a certificate of the lab's authority; the gateway connects each client's bytes to it, so the host
name that a client asked for is known by the port that the gateway's end of that connection has.
https://grpc.github.io/grpc/python/grpc.html
"""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from labkit.cloud.gcp import errors, hosts, schema
from labkit.cloud.gcp.errors import CODES, GcpError
from labkit.cloud.gcp.front import Call
from labkit.cloud.gcp.hosts import Target
from labkit.cloud.http import Headers, Request

if TYPE_CHECKING:
    from labkit.cloud.gcp.front import GcpCloud

#: Calls that are answered at the same time; operations' pollers are held among them.
THREADS = 64
#: Bytes of the largest message that is read: the rest of Google's limit is each method's to say.
LARGEST_MESSAGE = 64 << 20
#: Connections whose host names, and methods whose handlers, are remembered.
KEPT = 4096

_STATUS = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer(grpc.GenericRpcHandler):
    """Serves ``cloud`` on a port of its own. ``key`` and ``certificate`` are PEM, the certificate with its issuers."""

    def __init__(self, cloud: GcpCloud, key: bytes, certificate: bytes) -> None:
        self._cloud = cloud
        self._hosts: OrderedDict[int, str] = OrderedDict()
        self._lock = threading.Lock()
        self._handlers: dict[str, Any] = {}
        options = [
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ]
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"), handlers=(self,), options=options
        )
        self.port: int = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
        self._server.start()

    def connect(self, host: str) -> socket.socket:
        """A connection to the server for a client of ``host``."""
        # The port is known before the server can see the connection.
        sock = socket.socket()
        try:
            sock.bind(("127.0.0.1", 0))
            with self._lock:
                self._hosts[sock.getsockname()[1]] = host
                while len(self._hosts) > KEPT:
                    self._hosts.popitem(last=False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Stops serving; calls that are being answered end with it."""
        self._server.stop(None)

    def service(self, details: Any) -> Any:
        """What grpc asks for each call: who handles it."""
        name = details.method.lstrip("/")
        if (known := self._handlers.get(name)) is None and len(self._handlers) < KEPT:
            known = self._handlers[name] = self._handler(name)
        return known or self._handler(name)

    def _handler(self, name: str) -> Any:

        def behave(body: bytes, context: Any) -> bytes:
            return self._answer(name, body, context)

        def stream(bodies: Iterator[bytes], context: Any) -> Iterator[bytes]:
            self._refuse(context, errors.refusal(f"{name.replace('/', '.')}, which streams"))
            yield b""

        streams = [known[name] for known in schema.methods().values() if name in known]
        if streams and streams[0].streaming != "unary_unary":
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(behave)

    def _answer(self, name: str, body: bytes, context: Any) -> bytes:
        host = self._hosts.get(int(context.peer().rpartition(":")[2]), "")
        target = hosts.resolve(host)
        try:
            if not isinstance(target, Target):
                raise errors.refusal(name, target or f"{host or 'this host'} is no host of Google Cloud.")
            headers = Headers([(key, _text(value)) for key, value in context.invocation_metadata()])
            request = Request("POST", host, f"/{name}", headers)
            method = schema.find(target.api, name)
            call = Call(self._cloud, request, target, method or schema.unknown(target.api, name), "grpc")
            if method is None:
                raise self._cloud.refuse(call, errors.refusal(name.replace("/", "."), _unknown(name, host)))
            try:
                message = schema.message(method.request).FromString(body)
            except DecodeError as error:
                failure = errors.invalid(f"The request is no {method.request}: {error}.")
                raise self._cloud.refuse(call, failure) from None
            if method.preview and (field := schema.unknown_field(message)):
                raise self._cloud.refuse(call, errors.refusal(f"what {method.dotted} has beyond v1 ({field})"))
            answer: bytes = self._cloud.do(call, message).SerializeToString()
        except GcpError as error:
            self._refuse(context, error)
            raise AssertionError from None
        if call.answer_headers:
            context.send_initial_metadata([(key.lower(), value) for key, value in call.answer_headers])
        return answer

    def _refuse(self, context: Any, error: GcpError) -> None:
        """Ends the call with an error; does not return."""
        if error.details:
            context.set_trailing_metadata((("grpc-status-details-bin", error.rpc_status().SerializeToString()),))
        context.abort(_STATUS[CODES[error.code][0]], error.message)


def _unknown(name: str, host: str) -> str:
    known = ", ".join(sorted(schema.apis_of(name)))
    method = name.replace("/", ".")
    if known:
        return f"{host} has no method {method}; it is one of {known}."
    return f"The local clouds know no method {method} of {host}; see docs/fidelity.md."


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
