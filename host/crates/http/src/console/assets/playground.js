// The playground: makes tensors of what stands in the form, and shows what comes back.

import { failure, piece } from "./console.js";

// Bytes of one element; BYTES have none.
const SIZES = { BOOL: 1, UINT8: 1, UINT16: 2, UINT32: 4, UINT64: 8, INT8: 1, INT16: 2, INT32: 4, INT64: 8, FP16: 2, BF16: 2, FP32: 4, FP64: 8 };

const text = new TextEncoder();

// The tensor of one input: its entry in the request's JSON, and its bytes if they stand behind it.
async function tensor(port) {
  const { name, type } = port.dataset;
  const shape = port.dataset.shape === "" ? [] : port.dataset.shape.split(",").map(Number);
  const form = port.querySelector("[data-form]").value;
  const value = port.querySelector("[data-value]").value;
  const entry = { name, datatype: type };
  if (form === "json") {
    if (value.trim() === "") throw new Error(`“${name}” is empty.`);
    const numbers = literals(value, name);
    const flat = numbers.shape.length === 1 && shape.length !== 1;
    return [{ ...entry, shape: flat ? filled(shape, numbers.shape[0], name) : numbers.shape, data: numbers.raw }, null];
  }
  if (form === "text" || form === "lines") {
    const elements = form === "text" ? [value] : value.replace(/\n$/, "").split("\n");
    return binary(entry, ones(shape, elements.length), packed(elements.map((element) => text.encode(element))));
  }
  const file = port.querySelector("[data-file]").files[0];
  if (!file) throw new Error(`No file is chosen for “${name}”.`);
  if (form === "image") return binary(entry, ...(await image(port, file, shape, type)));
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (type === "BYTES") return binary(entry, ones(shape, 1), packed([bytes]));
  return binary(entry, filled(shape, bytes.length / SIZES[type], name), bytes);
}

function binary(entry, shape, bytes) {
  return [{ ...entry, shape, parameters: { binary_data_size: bytes.length } }, bytes];
}

// The shape of nested arrays. The text itself goes to the node, so that no number loses digits on the way.
function literals(value, name) {
  let parsed;
  try {
    parsed = JSON.parse(value);
  } catch (error) {
    throw new Error(`“${name}” is not JSON: ${error.message}`);
  }
  const shape = [];
  for (let part = parsed; Array.isArray(part); part = part[0]) shape.push(part.length);
  return { shape, raw: new Raw(Array.isArray(parsed) ? value : `[${value}]`) };
}

// JSON that is put into the request as it stands.
class Raw {
  constructor(json) {
    this.json = json;
  }
}

function written(entry) {
  const { data, ...rest } = entry;
  const json = JSON.stringify(rest);
  return data instanceof Raw ? `${json.slice(0, -1)},"data":${data.json}}` : json;
}

// `count` elements in this shape: free dimensions are 1, but for the first one.
function ones(shape, count) {
  let first = true;
  return shape.map((size) => {
    if (size >= 0) return size;
    const here = first ? count : 1;
    first = false;
    return here;
  });
}

function filled(shape, count, name) {
  const known = shape.filter((size) => size >= 0).reduce((product, size) => product * size, 1);
  const rest = count / known;
  if (!Number.isInteger(rest)) throw new Error(`What is given does not fit the shape of “${name}”.`);
  return ones(shape, rest);
}

// BYTES: each element behind its length, little-endian.
function packed(elements) {
  const whole = new Uint8Array(elements.reduce((sum, element) => sum + 4 + element.length, 0));
  const view = new DataView(whole.buffer);
  let at = 0;
  for (const element of elements) {
    view.setUint32(at, element.length, true);
    whole.set(element, at + 4);
    at += 4 + element.length;
  }
  return whole;
}

// ImageNet's mean and deviation of red, green, blue (torchvision.transforms.Normalize, as its models expect).
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];

// An image in a model's shape: decoded by the browser, resized, its channels where the shape has them.
async function image(port, file, shape, type) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error("The browser cannot decode this image.");
  });
  const sides = shape.length === 4 ? shape.slice(1) : shape.slice();
  const first = sides[0] === 1 || sides[0] === 3;
  const channels = first ? sides[0] : sides[2];
  let [height, width] = first ? [sides[1], sides[2]] : [sides[0], sides[1]];
  height = height < 0 ? bitmap.height : height;
  width = width < 0 ? bitmap.width : width;

  const canvas = port.querySelector("[data-preview]");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let [w, h] = [width, height];
  if (port.querySelector("[data-fit]").value === "pad") {
    const scale = Math.min(width / bitmap.width, height / bitmap.height);
    [w, h] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
  }
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, Math.floor((width - w) / 2), Math.floor((height - h) / 2), w, h);
  const pixels = context.getImageData(0, 0, width, height).data;

  const scale = port.querySelector("[data-scale]").value;
  const scaled = {
    255: (v) => v,
    1: (v) => v / 255,
    signed: (v) => v / 127.5 - 1,
    imagenet: (v, c) => (v / 255 - MEAN[c]) / DEVIATION[c],
  }[scale];
  const count = channels * height * width;
  const values = type === "UINT8" ? new Uint8Array(count) : new Float32Array(count);
  for (let pixel = 0; pixel < height * width; pixel += 1) {
    const [r, g, b] = [pixels[4 * pixel], pixels[4 * pixel + 1], pixels[4 * pixel + 2]];
    // One channel is brightness (ITU-R BT.601).
    const colours = channels === 3 ? [r, g, b] : [0.299 * r + 0.587 * g + 0.114 * b];
    for (let c = 0; c < channels; c += 1) {
      values[first ? c * height * width + pixel : pixel * channels + c] = scaled(colours[c], c);
    }
  }
  const whole = first ? [channels, height, width] : [height, width, channels];
  return [shape.length === 4 ? [1, ...whole] : whole, new Uint8Array(values.buffer)];
}

// Shows the fields of the chosen form.
for (const port of document.querySelectorAll("fieldset.port")) {
  const form = port.querySelector("[data-form]");
  const show = () => {
    for (const field of port.querySelectorAll("[data-for]")) {
      field.hidden = !field.dataset.for.split(" ").includes(form.value);
    }
  };
  form.addEventListener("change", show);
  show();
}

// Sends, and shows the answer or what went wrong.
function runs(form, request) {
  const result = form.parentElement.querySelector("[data-result]");
  const status = form.querySelector("[data-status]");
  const button = form.querySelector("button[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    status.textContent = "Running …";
    try {
      const [url, options] = await request();
      result.innerHTML = await piece(url, { method: "POST", ...options });
    } catch (error) {
      result.replaceChildren(failure(error instanceof TypeError ? "The node did not answer." : error.message));
    }
    status.textContent = "";
    button.disabled = false;
  });
}

for (const form of document.querySelectorAll("form[data-infer]")) {
  runs(form, async () => {
    const tensors = [];
    for (const port of form.querySelectorAll("fieldset.port")) tensors.push(await tensor(port));
    const json = text.encode(`{"inputs":[${tensors.map(([entry]) => written(entry)).join(",")}]}`);
    const body = new Blob([json, ...tensors.map(([, bytes]) => bytes).filter((bytes) => bytes !== null)]);
    const headers = { "content-type": "application/octet-stream", "inference-header-content-length": String(json.length) };
    return [form.dataset.infer, { headers, body }];
  });
}

for (const form of document.querySelectorAll("form[data-function]")) {
  runs(form, async () => {
    const { method, path, kind, body } = form.elements;
    const wish = new URLSearchParams({ method: method.value, path: path.value, kind: kind.value });
    return [`${form.dataset.function}&${wish}`, { body: body.value, headers: { "content-type": "application/octet-stream" } }];
  });
}
