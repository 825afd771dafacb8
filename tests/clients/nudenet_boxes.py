"""Prints what the package `nudenet` itself finds in each file: {path: [{"class", "score", "box"}]}.

Arguments: a file to write, and images. The file becomes the first two images beside each other, with a transparent
channel, and is the last one to be looked at.
"""

import json
import sys

from nudenet import NudeDetector
from PIL import Image

beside, *paths = sys.argv[1:]
left, right = (Image.open(path).convert("RGBA") for path in paths[:2])
both = Image.new("RGBA", (left.width + right.width, max(left.height, right.height)), (90, 120, 150, 255))
both.paste(left, (0, 0))
both.paste(right, (left.width, 0))
both.save(beside)

detector = NudeDetector()
# As bytes, which it reads without turning the image by what a camera noted.
print(json.dumps({path: detector.detect(open(path, "rb").read()) for path in [*paths, beside]}))
