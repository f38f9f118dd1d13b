// Serves the page on a free port of loopback, says which, and ends once the page has said how it went.
//
// usage: node serve.mjs FOLDER PORT_FILE

import { readFile, rename, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

const [folder, portFile] = process.argv.slice(2);
const TYPES = { html: "text/html", js: "text/javascript", binpb: "application/octet-stream" };
const FILES = ["page.html", "page.bundle.js", "contract.binpb"];

const server = createServer(async (request, response) => {
  const name = new URL(request.url, "http://page").pathname.slice(1);
  if (request.method === "POST" && name === "result") {
    let told = "";
    for await (const part of request) told += part;
    response.end();
    process.stdout.write(told);
    process.exit(told.trimEnd().endsWith("\nok") ? 0 : 1);
  }
  if (!FILES.includes(name)) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": TYPES[name.split(".").pop()] }).end(await readFile(join(folder, name)));
});
server.listen(0, "127.0.0.1", async () => {
  await writeFile(`${portFile}.tmp`, String(server.address().port));
  await rename(`${portFile}.tmp`, portFile);
});
