"""Reads an HTTP message (headers, an empty line, the body) from standard input with `cloudevents`, and prints the event
that it is as JSON."""

import json
import sys

from cloudevents.http import from_http

head, body = sys.stdin.buffer.read().split(b"\n\n", 1)
headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
event = from_http(headers, body)
print(json.dumps({"attributes": dict(event.get_attributes()), "data": event.data}))
