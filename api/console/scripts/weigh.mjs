// Fails the build if the script of the first load weighs more than 60 KB compressed. The first load is the entry and
// everything that it imports statically; a page that is loaded later does not count.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const limit = 60 * 1024;
const dist = new URL("../dist/", import.meta.url);
const html = readFileSync(new URL("index.html", dist), "utf8");
const first = new Set([...html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)].map((match) => match[1]));
for (const file of first) {
  const script = readFileSync(new URL(file, dist), "utf8");
  for (const [, name] of script.matchAll(/(?:from|import)\s*"\.\/([^"]+\.js)"/g)) first.add(`assets/${name}`);
}
let total = 0;
for (const file of first) total += gzipSync(readFileSync(new URL(file, dist)), { level: 9 }).length;
const kib = (total / 1024).toFixed(1);
if (first.size === 0) throw new Error("dist/index.html names no script");
if (total > limit) throw new Error(`the first load weighs ${kib} KiB of compressed script; the limit is 60`);
console.log(`first load: ${kib} KiB of compressed script in ${first.size} file(s)`);
