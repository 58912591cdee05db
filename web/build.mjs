// Bundles the dashboard into dist/: one script, one style, a page for each guide's text, names that change with their content.
import { build } from "esbuild";
import { marked } from "marked";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const top = join(here, "..");
const dist = join(here, "dist");
rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);

function put(name, bytes) {
  writeFileSync(join(dist, name), bytes);
  writeFileSync(join(dist, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  return name;
}

// The name says what is in it, so that browsers may keep it for ever.
function putNamed(name, bytes) {
  const [stem, ending] = [name.slice(0, name.lastIndexOf(".")), name.slice(name.lastIndexOf("."))];
  return put(`${stem}-${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}${ending}`, bytes);
}

const guides = [
  ["README.md", "Rounds"],
  ["web/README.md", "The dashboard"],
  ["deploy/README.md", "Run a server"],
  ["client/README.md", "Run a site"],
  ["client/python/README.md", "Python"],
  ["api/README.md", "REST API"],
  ["tests/README.md", "Tests and figures"],
];

// Links from one guide to another lead to its page here; other files of the repository become plain text.
function renderGuide(path) {
  const renderer = {
    link({ href, tokens }) {
      const text = this.parser.parseInline(tokens);
      const target = href.startsWith("http") ? null : join(dirname(path), href.split("#")[0]);
      if (guides.some(([known]) => known === target)) return `<a href="#/about/guide/${encodeURIComponent(target)}">${text}</a>`;
      return target === null ? `<a href="${href}" rel="noreferrer">${text}</a>` : `<b>${text}</b>`;
    },
    image({ text }) {
      return `<em>${text}</em>`;
    },
    heading({ tokens, depth }) {
      return `<h${depth + 1}>${this.parser.parseInline(tokens)}</h${depth + 1}>`;
    },
    table(token) {
      const cell = (c, tag) => `<${tag}>${this.parser.parseInline(c.tokens)}</${tag}>`;
      const rows = token.rows.map((row) => `<tr>${row.map((c) => cell(c, "td")).join("")}</tr>`).join("");
      return `<div class="scroll" tabindex="0"><table><thead><tr>${token.header
        .map((c) => cell(c, "th"))
        .join("")}</tr></thead><tbody>${rows}</tbody></table></div>`;
    },
    code({ text }) {
      return `<pre tabindex="0"><code>${text.replace(/&/g, "&amp;").replace(/</g, "&lt;")}</code></pre>`;
    },
  };
  marked.use({ renderer });
  return marked.parse(readFileSync(join(top, path), "utf8"));
}

function licences() {
  const found = [];
  for (const name of ["preact", "uplot", "lucide"]) {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((f) => /^licen[cs]e/i.test(f));
    found.push({ name, version, licence: license, text: readFileSync(join(folder, file), "utf8") });
  }
  return found;
}

const guideFile = putNamed(
  "guides.json",
  JSON.stringify(guides.map(([path, title]) => ({ path, title, html: renderGuide(path) }))),
);
const licenceFile = putNamed("licences.json", JSON.stringify({ bundled: licences(), own: readFileSync(join(top, "LICENSE"), "utf8") }));

const result = await build({
  entryPoints: [join(here, "src/main.jsx")],
  bundle: true,
  minify: true,
  format: "esm",
  splitting: true,
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  outdir: dist,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  write: false,
  legalComments: "none",
  define: { GUIDES: JSON.stringify(`/assets/${guideFile}`), LICENCES: JSON.stringify(`/assets/${licenceFile}`) },
  logLevel: "warning",
});
const files = result.outputFiles.map((file) => put(basename(file.path), file.contents));
const icon = putNamed("icon.svg", readFileSync(join(here, "src/icon.svg")));
put(
  "index.html",
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Rounds</title>
<link rel="icon" href="/assets/${icon}">
<link rel="stylesheet" href="/assets/${files.find((f) => /^main-.*\.css$/.test(f))}">
<script type="module" src="/assets/${files.find((f) => /^main-.*\.js$/.test(f))}"></script>
</head>
<body><div id="app"></div><noscript>The dashboard needs JavaScript; the rounds command and the REST API do not.</noscript></body>
</html>
`,
);
for (const file of readdirSync(dist).filter((f) => f.endsWith(".gz"))) {
  console.log(`${String(readFileSync(join(dist, file)).length).padStart(8)}  ${file}`);
}
