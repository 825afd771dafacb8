"""Prints what the `magika` package itself says of each file: {path: [label, score]}."""

import json
import sys

from magika import Magika

magika = Magika()
answers = {}
for path in sys.argv[1:]:
    result = magika.identify_path(path)
    answers[path] = [result.output.label, result.score]
print(json.dumps(answers))
