"""Real clients, which fail by an exit code: clients.py grpc|websocket|tcp HOST PORT"""

import socket
import sys

TIMEOUT = 8


def grpc_client(host, port):
    import grpc

    with grpc.insecure_channel(f"dns:///{host}:{port}") as channel:
        name = "/proof.Echo/"
        reply, call = channel.unary_unary(name + "Unary").with_call(b"abc", timeout=TIMEOUT)
        assert reply == b"cba", reply
        peer = dict(call.trailing_metadata())["x-peer"]
        try:
            channel.unary_unary(name + "Unary")(b"fail", timeout=TIMEOUT)
            raise AssertionError("an error was asked for")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
            assert error.details() == "asked to", error
        numbers = list(channel.unary_stream(name + "Count")(b"500", timeout=TIMEOUT))
        assert numbers == [str(n).encode() for n in range(500)], len(numbers)
        chunks = (b"x" * 10_000 for _ in range(100))
        assert channel.stream_unary(name + "Total")(chunks, timeout=TIMEOUT) == b"1000000"
        messages = [str(n).encode() * 100 for n in range(200)]
        assert list(channel.stream_stream(name + "Echo")(iter(messages), timeout=TIMEOUT)) == messages
        print(peer)


def websocket_client(host, port):
    from websockets.sync.client import connect

    with connect(f"ws://{host}:{port}/talk", open_timeout=TIMEOUT, close_timeout=TIMEOUT) as socket:
        for message in ["hello", "grüße", b"\x00\x01" * 50_000]:
            socket.send(message)
            assert socket.recv(timeout=TIMEOUT) == message
        socket.ping().wait(TIMEOUT)
    print(socket.close_code)


def tcp_client(host, port):
    """Waits for the other side's greeting before it says a word; then half of the connection ends before the other."""
    with socket.create_connection((host, port), timeout=TIMEOUT) as stream:
        greeting = stream.makefile("rb").readline()
        data = b"0123456789" * 20_000
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        back = b""
        while piece := stream.recv(65536):
            back += piece
        assert back == data, len(back)
        print(greeting.decode().strip())


def refused_client(host, port):
    """Says what becomes of a connection that should lead nowhere."""
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT) as stream:
            stream.sendall(b"anything\r\n\r\n")
            print("closed" if stream.recv(1) == b"" else "answered")
    except ConnectionError:
        print("closed")
    except TimeoutError:
        print("open")


kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
{"grpc": grpc_client, "websocket": websocket_client, "tcp": tcp_client, "refused": refused_client}[kind](host, port)
