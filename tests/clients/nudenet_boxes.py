"""Prints what the package `nudenet` itself finds in each file: {path: [{"class", "score", "box"}]}."""

import json
import sys

from nudenet import NudeDetector

detector = NudeDetector()
# As bytes, which it reads without turning the image by what a camera noted.
print(json.dumps({path: detector.detect(open(path, "rb").read()) for path in sys.argv[1:]}))
