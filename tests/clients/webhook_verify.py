"""Reads {"secret", "headers", "body"} and prints the payload, or null if Standard Webhooks' library refuses it."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
try:
    print(json.dumps(Webhook(given["secret"]).verify(given["body"], given["headers"])))
except WebhookVerificationError:
    print("null")
