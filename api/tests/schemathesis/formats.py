"""What the formats of the document mean that no schema can say: addresses that the service may reach, and cron lines."""

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


def field(least, most):
    number = st.integers(least, most).map(str)
    return st.one_of(st.just("*"), number, number.map("*/{}".format).filter(lambda step: step != "*/0"))


schemathesis.openapi.format(
    "cron",
    st.tuples(field(0, 59), field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)).map(" ".join),
)
