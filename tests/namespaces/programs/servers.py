"""Servers that say what they see: HTTP, WebSocket, gRPC, a greeting, an echo. Arguments are kind:port, any number."""

import asyncio
import concurrent.futures
import http.server
import json
import socketserver
import sys
import threading


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps(
            {
                "peer": self.client_address[0],
                "served": self.connection.getsockname()[0],
                "port": self.server.server_address[1],
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "length": len(self.rfile.read(int(self.headers.get("content-length", 0)))),
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Greeting(socketserver.BaseRequestHandler):
    """Speaks first, as databases and mail servers do, then gives everything back."""

    def handle(self):
        self.request.sendall(b"hello " + self.client_address[0].encode() + b"\n")
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Threads(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


def http_server(port):
    http.server.ThreadingHTTPServer.request_queue_size = 512
    server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def greeting_server(port):
    threading.Thread(target=Threads(("0.0.0.0", port), Greeting).serve_forever, daemon=True).start()


def grpc_server(port):
    import grpc

    def unary(request, context):
        context.set_trailing_metadata((("x-peer", context.peer().split(":")[1]),))
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "asked to")
        return request[::-1]

    def count(request, context):
        for number in range(int(request)):
            yield str(number).encode()

    def total(requests, context):
        return str(sum(len(request) for request in requests)).encode()

    def echo(requests, context):
        yield from requests

    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("proof.Echo", handlers),))
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    return server


async def websocket_server(port):
    from websockets.asyncio.server import serve

    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    await serve(echo, "0.0.0.0", port)


async def main():
    held = []
    for argument in sys.argv[1:]:
        kind, port = argument.split(":")
        if kind == "ws":
            await websocket_server(int(port))
        else:
            start = {"http": http_server, "greet": greeting_server, "grpc": grpc_server}[kind]
            held.append(start(int(port)))
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
