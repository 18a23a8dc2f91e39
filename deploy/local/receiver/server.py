"""The demo's receivers of notifications: an SMTP server and a webhook. Each message is printed, and the latest are listed at `/`."""

import collections
import email
import email.policy
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller

MAX_KEPT = 100
MAX_BODY_BYTES = 1 << 20

messages = collections.deque(maxlen=MAX_KEPT)


def keep(message):
    messages.append(message)
    print(json.dumps(message, ensure_ascii=False), flush=True)


class MailHandler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text = mail.get_body(("plain",))
        lines = text.get_content().splitlines() if text else []
        keep({"type": "email", "to": envelope.rcpt_tos, "subject": str(mail["subject"]), "text": "\n".join(lines)})
        return "250 Message accepted for delivery"


class WebhookHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > MAX_BODY_BYTES:
            return self.answer(413)
        try:
            body = json.loads(self.rfile.read(length))
        except ValueError:
            return self.answer(400)
        keep({"type": "webhook", "id": self.headers.get("webhook-id"), "body": body})
        self.answer(204)

    def do_GET(self):
        listed = {"smtp_port": smtp_port, "messages": list(messages)}
        self.answer(200, json.dumps(listed, indent=2, ensure_ascii=False).encode())

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Requests are not logged: what arrives is printed."""


port, smtp_port = map(int, sys.argv[1:])
Controller(MailHandler(), hostname="127.0.0.1", port=smtp_port).start()
ThreadingHTTPServer(("127.0.0.1", port), WebhookHandler).serve_forever()
