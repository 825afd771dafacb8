// Tensors as JavaScript has them. Everything is little-endian; an element of type BYTES stands behind its length, a u32.

// The elements of a tensor of type BYTES.
export function elements({ data }) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const found = [];
  for (let at = 0; at < data.length; ) {
    const start = at + 4;
    at = start + view.getUint32(at, true);
    found.push(data.subarray(start, at));
  }
  return found;
}

export function strings(name, shape, texts) {
  const parts = texts.map((text) => new TextEncoder().encode(text));
  const data = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.length, 0));
  const view = new DataView(data.buffer);
  let at = 0;
  for (const part of parts) {
    view.setUint32(at, part.length, true);
    data.set(part, at + 4);
    at += 4 + part.length;
  }
  return { name, elementType: "bytes", shape, data };
}

export function floats(name, shape, numbers) {
  return { name, elementType: "fp32", shape, data: new Uint8Array(Float32Array.from(numbers).buffer) };
}
