"""A storage that speaks S3: moto's server, with one bucket. It checks signatures and rights of every request.

Prints where it answers and what a reader of the bucket signs with, then does what comes on standard input, one JSON
document a line, and answers each with one line:

{"put": KEY, "body": TEXT} or {"put": KEY, "size": BYTES}; {"delete": KEY}; {"many": PREFIX, "count": N}
{"failing": true}       answers every reader's request with 503
{"requests": true}      the reader's requests so far, which are forgotten with that
"""

import json
import logging
import sys
import threading

import boto3
from moto import settings
from moto.backends import get_backend
from moto.core.responses import ActionAuthenticatorMixin
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET, ACCOUNT = "incoming", "123456789012"

logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
storage = DomainDispatcherApplication(create_backend_app)
state = {"reader": "", "failing": False, "requests": []}


def watched(environ, start_response):
    if state["reader"] and state["reader"] in environ.get("HTTP_AUTHORIZATION", ""):
        state["requests"].append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        if state["failing"]:
            start_response("503 Slow Down", [("content-type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"]
    return storage(environ, start_response)


server = make_server("127.0.0.1", 0, watched, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{server.server_port}"


def client(service, key="none", secret="none"):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


iam = client("iam")


def user(name, actions):
    iam.create_user(UserName=name)
    allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


reader = user("reader", ["s3:ListBucket", "s3:GetObject"])
s3 = client("s3", *user("owner", ["s3:*"]))
s3.create_bucket(Bucket=BUCKET)
# From now on.
settings.INITIAL_NO_AUTH_ACTION_COUNT, ActionAuthenticatorMixin.request_count = 0, 1
state["reader"] = reader[0]


def do(wish):
    match wish:
        case {"put": key, "body": body}:
            s3.put_object(Bucket=BUCKET, Key=key, Body=body.encode())
        case {"put": key, "size": size}:
            s3.put_object(Bucket=BUCKET, Key=key, Body=bytes(size))
        case {"delete": key}:
            s3.delete_object(Bucket=BUCKET, Key=key)
        case {"many": prefix, "count": count}:
            for i in range(count):
                get_backend("s3")[ACCOUNT]["aws"].put_object(BUCKET, f"{prefix}{i:05}.txt", b"x")
        case {"failing": failing}:
            state["failing"] = failing
        case {"requests": True}:
            seen, state["requests"] = state["requests"], []
            return seen
    return "done"


print(json.dumps({"endpoint": endpoint, "access_key_id": reader[0], "secret_access_key": reader[1]}), flush=True)
for line in sys.stdin:
    print(json.dumps(do(json.loads(line))), flush=True)
