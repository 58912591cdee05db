// The official tus-js-client against a real server: uploads a file in parts, aborts in the middle, resumes, checks.
import { readFileSync } from "node:fs";
import { Upload } from "tus-js-client";

const [url, token, file, digest] = process.argv.slice(2);
const data = readFileSync(file);
const seen = [];

function upload(options) {
  return new Promise((resolve, reject) => {
    const up = new Upload(data, {
      endpoint: `${url}/api/v1/uploads`,
      headers: { Authorization: `Bearer ${token}` },
      metadata: { digest },
      chunkSize: 1 << 20,
      retryDelays: [0, 100, 500],
      onError: reject,
      onSuccess: () => resolve(up.url),
      ...options(() => up, resolve),
    });
    up.start();
  });
}

// The first try stops after three parts.
const halfway = await upload((up, resolve) => ({
  onChunkComplete: async (size, sent) => {
    if (sent < 3 << 20) return;
    await up().abort();
    resolve(up().url);
  },
}));
// The second knows only where the upload is, and asks how far it got.
await upload(() => ({
  uploadUrl: halfway,
  onProgress: (sent) => seen.push(sent),
}));
console.log(JSON.stringify({ resumedAt: seen[0], url: halfway, size: data.length }));
