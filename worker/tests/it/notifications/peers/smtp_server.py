"""An SMTP server that prints its port, and then each e-mail as a line of JSON. It accepts e-mails of a user over TLS alone.
It knows no recipient `unknown`, and asks for another attempt the first time that a recipient is `busy`."""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Printer:
    was_busy = False

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return "550 5.1.1 No such user"
        if address.startswith("busy@") and not Printer.was_busy:
            Printer.was_busy = True
            return "451 4.7.1 Try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        content = envelope.content.decode()
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "content": content}), flush=True)
        return "250 Message accepted for delivery"


def authenticate(server, session, envelope, mechanism, login):
    is_known = (login.login, login.password) == (b"svc", b"right")
    return AuthResult(success=is_known, handled=is_known)


async def main():
    tls, certificate, key = sys.argv[1:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    options = {"authenticator": authenticate, "auth_required": True, "hostname": "localhost"}
    is_implicit = tls == "implicit"
    if is_implicit:
        options |= {"auth_require_tls": False}
    else:
        options |= {"tls_context": context, "require_starttls": True}
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Printer(), **options), "127.0.0.1", 0, ssl=context if is_implicit else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
