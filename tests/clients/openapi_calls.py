"""Calls every operation that a node's /openapi.json describes, with made-up requests, and compares the answers with it.

openapi_calls.py URL TOKEN EXAMPLES [NAME=VALUE...]

Without a token (an empty one) every call is an anonymous one. NAME=VALUE is a path parameter whose value exists, so
that reads of it succeed half of the time. Prints what schemathesis prints; its exit status is this one's.
"""

import os
import random
import sys
import tempfile

import schemathesis
from schemathesis.cli import schemathesis as command

url, token, examples = sys.argv[1:4]
existing = {}
for pair in sys.argv[4:]:
    name, value = pair.split("=", 1)
    existing.setdefault(name, []).append(value)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Reads and calls are of what is there, as often as not; what changes or deletes something keeps to its own."""
    operation = context.operation
    if operation.method.upper() == "GET" or operation.path.endswith("/infer"):
        for name in path_parameters or {}:
            if name in existing and random.random() < 0.5:
                path_parameters[name] = random.choice(existing[name])
    return path_parameters


@schemathesis.serializer("application/wasm")
def as_it_is(context, value):
    """Made-up components: anything but one."""
    return value if isinstance(value, bytes) else str(value).encode()


checks = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
]
arguments = ["run", f"{url}/openapi.json", "--url", url, "--max-examples", examples]
# Without a token each operation says the same whatever it is sent: one phase will do.
arguments += ["--phases", "coverage,fuzzing" if token else "fuzzing"]
arguments += ["--checks", ",".join(checks), "--seed", "1", "--continue-on-failure", "--no-color"]
arguments += ["--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off"]
if token:
    arguments += ["--header", f"Authorization: Bearer {token}"]
random.seed(1)
with tempfile.TemporaryDirectory() as folder:
    # It keeps a cache in the folder that it runs in.
    os.chdir(folder)
    command(arguments)
