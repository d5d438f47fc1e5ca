// The same as processes/serve.py for sharp: one process, one image at a time, no cache. CPU time is that of all its threads.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parse } from "node:path";
import { createInterface } from "node:readline";

const [modules, optimise, ...boxes] = process.argv.slice(2);
const sharp = createRequire(`${modules}/`)("sharp");
const outputs = boxes.map((box) => box.split(",").map(Number));

sharp.concurrency(1);
sharp.cache(false);

async function make(path, keep) {
  let bytes = 0;
  for (const [number, [width, height, quality]] of outputs.entries()) {
    const output = await sharp(path)
      .resize(width, height, { fit: "inside", withoutEnlargement: true })
      .jpeg(optimise === "default" ? { quality } : { quality, optimiseCoding: false })
      .toBuffer();
    bytes += output.length;
    if (keep) writeFileSync(`${keep}/${parse(path).name}-${number}`, output);
  }
  return bytes;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { paths, keep } = JSON.parse(line);
  const started = performance.now();
  const before = process.cpuUsage();
  let bytes = 0;
  for (const path of paths) bytes += await make(path, keep);
  const { user, system } = process.cpuUsage(before);
  const status = readFileSync("/proc/self/status", "ascii");
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)[1]) * 1024;
  const wall = (performance.now() - started) / 1000;
  console.log(JSON.stringify({ cpu: (user + system) / 1e6, wall, bytes, peak }));
}
