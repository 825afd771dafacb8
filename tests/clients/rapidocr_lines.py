"""Prints what the package `rapidocr-onnxruntime` itself reads in each file: {path: [[corners, text, score]]}."""

import json
import sys

from rapidocr_onnxruntime import RapidOCR

ocr = RapidOCR()
print(json.dumps({path: ocr(path)[0] or [] for path in sys.argv[1:]}))
