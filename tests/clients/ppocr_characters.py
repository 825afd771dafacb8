"""Prints the characters that PP-OCR's reader tells apart, one a line, as its ONNX file carries them.

    python3 ppocr_characters.py ch_PP-OCRv4_rec_infer.onnx > characters.txt
"""

import sys

import onnx

model = onnx.load(sys.argv[1])
(characters,) = [entry.value for entry in model.metadata_props if entry.key == "character"]
sys.stdout.reconfigure(encoding="utf-8")
print("\n".join(characters.splitlines()))
