"""Draws pages of text into a folder: several sizes, a photograph's background, a line on its head, slanted lines.

Arguments: a font (TrueType), a photograph, a folder.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

font_path, photograph, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
font = lambda size: ImageFont.truetype(font_path, size)


def page(name, size, *lines):
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for (x, y), height, text in lines:
        draw.text((x, y), text, font=font(height), fill=(20, 20, 60))
    image.save(folder / name)
    return image


letter = page(
    "letter.png",
    (900, 700),
    ((60, 50), 40, "Invoice No. 2024-0815"),
    ((60, 130), 24, "The quick brown fox jumps over the lazy dog."),
    ((60, 180), 24, "Quantity 3, unit price 17.50 EUR"),
    ((560, 180), 24, "Total 52.50 EUR"),
    ((60, 260), 18, "Please pay within thirty days of receipt to the account named below."),
    ((60, 330), 64, "Thank you"),
    ((60, 560), 20, "Page 1 of 12"),
)
letter.rotate(7, expand=True, fillcolor="white", resample=Image.Resampling.BICUBIC).save(folder / "slanted.png")

# Lines that stand on their heads: a page that was laid into the scanner the wrong way.
page("turned.png", (700, 300), ((40, 60), 40, "Upside down and found"), ((40, 160), 40, "Second line of it")).rotate(
    180
).save(folder / "turned.png")

# A single line, wider than eight times its height.
page("banner.png", (760, 48), ((10, 4), 32, "Meeting room 4.17, second floor"))

photo = Image.open(photograph).convert("RGB")
draw = ImageDraw.Draw(photo)
draw.rectangle((20, 20, 330, 80), fill=(250, 240, 210))
draw.text((34, 30), "Rear Admiral", font=font(40), fill=(120, 0, 0))
draw.text((60, photo.height - 70), "Grace Hopper", font=font(44), fill=(255, 255, 255))
photo.save(folder / "photo.png")
