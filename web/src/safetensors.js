// Reads a safetensors file of real numbers: {name: {shape, values}}.
const READ = {
  F64: [8, (view, at) => view.getFloat64(at, true)],
  F32: [4, (view, at) => view.getFloat32(at, true)],
  I64: [8, (view, at) => Number(view.getBigInt64(at, true))],
  I32: [4, (view, at) => view.getInt32(at, true)],
};

export function readTensors(buffer) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (!READ[dtype]) continue; // "__metadata__" has none
    const [[begin, end], [size, read]] = [offsets, READ[dtype]];
    tensors[name] = { shape, values: Array.from({ length: (end - begin) / size }, (_, i) => read(view, 8 + length + begin + i * size)) };
  }
  return tensors;
}
