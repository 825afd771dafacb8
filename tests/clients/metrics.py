"""Reads metrics from standard input with the parser of `prometheus-client`, and prints {name: {labels: value}}."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

found = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
        found.setdefault(sample.name, {})[labels] = float(sample.value)
print(json.dumps(found))
