"""Signs a webhook with `standardwebhooks`: arguments are the secret, the id and the time; the body comes on standard
input. Prints the signature, having verified it itself."""

import datetime
import sys

from standardwebhooks import Webhook

secret, message, time = sys.argv[1:]
body = sys.stdin.read()
webhook = Webhook(secret)
at = datetime.datetime.fromtimestamp(int(time), datetime.timezone.utc)
signature = webhook.sign(message, at, body)
webhook.verify(body, {"webhook-id": message, "webhook-timestamp": time, "webhook-signature": signature})
print(signature)
