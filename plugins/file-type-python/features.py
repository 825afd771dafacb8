"""From bytes to the model's input, as `Magika._extract_features_from_seekable` of magika 1.0.3 does it."""

from typing import Optional


def of(file: bytes, config: dict) -> tuple[Optional[str], list[int]]:
    """A label, where there is too little for the model to look at; else the model's input, `beg_size` tokens of the
    beginning and then `end_size` of the end."""
    least = config["min_file_size_for_dl"]
    if not file:
        return "empty", []
    if len(file) < least:
        return text_or_unknown(file), []
    block = min(config["block_size"], len(file))
    first, last = file[:block], file[-block:]
    beginning, end = first.lstrip(), last.rstrip()
    if len(beginning) < least:
        return text_or_unknown(first), []  # mostly white space
    padding = config["padding_token"]
    at_beginning, at_end = beginning[: config["beg_size"]], end[-config["end_size"] :]
    return None, [
        *at_beginning,
        *[padding] * (config["beg_size"] - len(at_beginning)),
        *[padding] * (config["end_size"] - len(at_end)),
        *at_end,
    ]


def text_or_unknown(data: bytes) -> str:
    try:
        data.decode()
        return "txt"
    except UnicodeDecodeError:
        return "unknown"
