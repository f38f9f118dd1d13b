// Checks objects of custom resources against the schemas of their definitions: node helm_custom.mjs NODE_MODULES <OBJECTS
// OBJECTS is a JSON array; for each that is wrong a line is printed, and the exit code is 1.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { readFileSync } from 'node:fs';

const packages = { 'monitoring.coreos.com': 'prometheus-operator', 'gateway.networking.k8s.io': 'gateway-api' };

// The schemas let unknown fields pass. But a field that validation never looked at is one that they do not know.
function watched(value, at, unread) {
  if (value === null || typeof value !== 'object') return value;
  const below = {};
  for (const [key, child] of Object.entries(value)) {
    const name = `${at}/${key}`;
    unread.add(name);
    below[key] = watched(child, name, unread);
  }
  const target = Array.isArray(value) ? Object.values(below) : below;
  return new Proxy(target, {
    get(object, key) {
      unread.delete(`${at}/${String(key)}`);
      return object[key];
    },
  });
}

let wrong = 0;
for (const object of JSON.parse(readFileSync(0, 'utf8'))) {
  const { apiVersion, kind, metadata } = object;
  const complain = (what) => { wrong = 1; console.log(`${kind} ${metadata.name}: ${what}`); };
  const folder = packages[apiVersion.split('/')[0]];
  if (!folder) { complain(`no schema for ${apiVersion}`); continue; }
  const file = path.join(process.argv[2], '@kubernetes-models', folder, apiVersion, `${kind}.js`);
  const { [kind]: Model } = await import(pathToFileURL(file));
  try { new Model(object).validate(); } catch (error) { complain(error.message); continue; }
  // `metadata` is the same for all kinds, and open in these schemas.
  const unread = new Set();
  const model = new Model({});
  for (const [key, value] of Object.entries({ ...object, metadata: undefined })) {
    if (value !== undefined) model[key] = watched(value, key, unread);
  }
  try { model.validate(); } catch { /* What is wrong was told above. */ }
  const unknown = [...unread].filter((name) => ![...unread].some((above) => name.startsWith(`${above}/`)));
  for (const name of unknown) complain(`unknown field ${name}`);
}
process.exitCode = wrong;
