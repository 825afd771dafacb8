// From bytes to the model's input, as `Magika._extract_features_from_seekable` of magika 1.0.3 does it.

// `decided` is a label, where there is too little for the model to look at; else `tokens` are the model's input,
// `beg_size` of the beginning and then `end_size` of the end.
export function features(file, config) {
  const least = config.min_file_size_for_dl;
  if (file.length === 0) return { decided: "empty" };
  if (file.length < least) return { decided: textOrUnknown(file) };

  const block = Math.min(config.block_size, file.length);
  const first = file.subarray(0, block);
  const last = file.subarray(file.length - block);
  const beginning = first.subarray(leading(first));
  const end = last.subarray(0, last.length - trailing(last));
  if (beginning.length < least) return { decided: textOrUnknown(first) }; // mostly white space

  const tokens = new Int32Array(config.beg_size + config.end_size).fill(config.padding_token);
  tokens.set(beginning.subarray(0, config.beg_size));
  const atEnd = end.subarray(Math.max(0, end.length - config.end_size));
  tokens.set(atEnd, tokens.length - atEnd.length);
  return { tokens };
}

function textOrUnknown(bytes) {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return "txt";
  } catch {
    return "unknown";
  }
}

// White space as Python's `bytes.strip` has it: tab, line feed, vertical tab, form feed, carriage return, space.
const isSpace = (byte) => byte === 32 || (byte >= 9 && byte <= 13);

// How many bytes of it there are at the beginning.
function leading(bytes) {
  const kept = bytes.findIndex((byte) => !isSpace(byte));
  return kept < 0 ? bytes.length : kept;
}

// How many at the end.
function trailing(bytes) {
  let count = 0;
  while (count < bytes.length && isSpace(bytes[bytes.length - 1 - count])) count += 1;
  return count;
}
