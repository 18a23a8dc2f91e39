"""A webhook over TLS on this address that prints its port, and answers every request with 204."""

import ssl
import sys
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        """Requests are not logged."""


address, certificate, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server = TCPServer((address, 0), Webhook)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
