"""What no schema can say: which addresses the service may reach, which cron lines come at some time, what is a certificate, and which
pages exist."""

import subprocess
import tempfile
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format(
    "uri",
    st.builds(
        "{}://{}{}{}".format,
        st.sampled_from(["http", "https"]),
        st.sampled_from(["airflow.example", "10.1.2.3", "[2001:db8::1]", "xn--bcher-kva.example"]),
        st.sampled_from(["", ":1", ":8080"]),
        st.sampled_from(["", "/", "/base", "/a%20b/c/"]),
    ),
)



def certificate_and_key():
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        new = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=schemathesis"]
        command = ["openssl", "req", "-x509", *new, "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
        return certificate.read_text(), key.read_text()


# They belong together.
CERTIFICATE, KEY = certificate_and_key()
schemathesis.openapi.format("pem", st.just(CERTIFICATE))
schemathesis.openapi.format("pem-key", st.just(KEY))


def field(least, most):
    number = st.integers(least, most).map(str)
    return st.one_of(st.just("*"), number, number.map("*/{}".format).filter(lambda step: step != "*/0"))


FROM_MINUTES = [field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)]
schemathesis.openapi.format(
    "cron",
    st.one_of(st.tuples(*FROM_MINUTES), st.tuples(field(0, 59), *FROM_MINUTES)).map(" ".join),
)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Removes the parameter `cursor`: its only valid values are those of a page's X-Next-Cursor, for the same list."""
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict) and "parameters" in operation:
                operation["parameters"] = [it for it in operation["parameters"] if it.get("name") != "cursor"]


LARGEST_SIZE = 500
LAST_PAGED_ROW = 100_000


@schemathesis.hook
def before_call(context, case, kwargs):
    """Asks for the first page in place of one beyond the last row that pages reach; a schema cannot multiply page by size."""
    query = case.query or {}
    if str(query.get("page", "")).isdigit() and int(query["page"]) > LAST_PAGED_ROW // LARGEST_SIZE:
        query["page"] = 1
