"""An expensive backend: every answer takes a tenth of a second."""
import http.server
import itertools
import time

number = itertools.count(1)


class Slow(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"expensive answer number {next(number)}\n".encode()
        time.sleep(0.1)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # the caller has left

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 9103), Slow).serve_forever()
