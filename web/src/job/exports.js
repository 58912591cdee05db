// A job's metrics as files: CSV for spreadsheets, and an event file that TensorBoard opens.
import { get } from "../api.js";

function save(name, type, parts) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10e3);
}

export const fileName = (job, ending) => `${job.name.replace(/[^\w-]+/g, "-")}${ending}`;

const series = async (job) => (await get(`/jobs/${job.id}/curves`)).series;

// A cell that a spreadsheet would take for a formula is made text.
function cell(value) {
  const text = String(value ?? "").replace(/^(?=[=+@\t\r]|-(?!\d))/, "'");
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export async function saveCsv(job) {
  const rows = (await series(job)).flatMap((s) => s.rounds.map((round, i) => [round, s.site, s.name, s.values[i]]));
  rows.sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : a[2] < b[2] ? -1 : 1));
  save(fileName(job, ".csv"), "text/csv", [["round", "site", "metric", "value"], ...rows].map((row) => `${row.map(cell).join(",")}\r\n`));
}

// CRC-32C (RFC 3720), masked as TFRecord does.
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});
function maskedCrc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  c = (c ^ 0xffffffff) >>> 0;
  return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
}

// Protocol buffers, as far as Event and Summary need them: a field's number, its wire type, its bytes.
const varint = (value) => {
  const out = [];
  for (let left = BigInt(value); ; left >>= 7n) {
    if (left < 128n) return [...out, Number(left)];
    out.push(Number(left & 127n) | 128);
  }
};
const numberBytes = (value, size) => {
  const view = new DataView(new ArrayBuffer(size));
  if (size === 8) view.setFloat64(0, value, true);
  else view.setFloat32(0, value, true);
  return [...new Uint8Array(view.buffer)];
};
const inner = (field, bytes) => [(field << 3) | 2, ...varint(bytes.length), ...bytes];
const text = (field, value) => inner(field, [...new TextEncoder().encode(value)]);

function record(event) {
  const bytes = Uint8Array.from(event);
  const framed = new DataView(new ArrayBuffer(bytes.length + 16));
  framed.setBigUint64(0, BigInt(bytes.length), true);
  framed.setUint32(8, maskedCrc(new Uint8Array(framed.buffer, 0, 8)), true);
  new Uint8Array(framed.buffer).set(bytes, 12);
  framed.setUint32(12 + bytes.length, maskedCrc(bytes), true);
  return framed.buffer;
}

export function eventFile(job, all) {
  const began = Date.parse(job.started || job.created) / 1000;
  const stamp = [(1 << 3) | 1, ...numberBytes(began, 8)];
  const events = [record([...stamp, ...text(3, "brain.Event:2")])];
  for (const { name, site, rounds, values } of all)
    rounds.forEach((round, i) => {
      if (!Number.isFinite(values[i])) return;
      const value = [...text(1, site ? `${name}/${site}` : name), (2 << 3) | 5, ...numberBytes(values[i], 4)];
      events.push(record([...stamp, 2 << 3, ...varint(round), ...inner(5, inner(1, value))]));
    });
  return events;
}

export async function saveTensorBoard(job) {
  const name = `events.out.tfevents.${Math.floor(Date.parse(job.created) / 1000)}.${fileName(job, "")}`;
  save(name, "application/octet-stream", eventFile(job, await series(job)));
}
