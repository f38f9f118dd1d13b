// Adds three contacts to a campaign, follows their messages to the end, imports a few hundred more, and checks
// every answer.
//
// usage: node main.js HOST:PORT   (`./run HOST:PORT` installs the libraries first)
// BLUBASH_API_KEY is the workspace's key; without it, the sandbox's.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const CAMPAIGN = "camp-evergreen";
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const words = { longs: Number, enums: String, defaults: true, oneofs: true };
const contract = protoLoader.loadSync("blubash/campaigns/v1/campaigns_service.proto", {
  ...words,
  includeDirs: [path("../../proto")],
});
const rpc = protoLoader.loadSync(path("status.proto"), words);
const { CampaignsService } = grpc.loadPackageDefinition(contract).blubash.campaigns.v1;

const metadata = new grpc.Metadata();
metadata.set("x-api-key", process.env.BLUBASH_API_KEY ?? "sandbox-key-acme");
// Every call has a deadline: without one, a call waits for as long as the server lets it.
const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });

// The three contacts of the vendor's own example, one for each way to say when.
const ITEMS = [
  { contactId: "contact-1", schedule: { immediate: {} } },
  {
    identifier: "5511999999999",
    name: "Jane Smith",
    email: "jane@example.com",
    customFields: { fields: { cf_plan: { stringValue: "pro" }, cf_source: { stringValue: "api" } } },
    tags: ["Hot Lead", "VIP Customer"],
    schedule: { at: { seconds: Date.parse("2026-03-10T14:30:00.000Z") / 1000 } },
  },
  {
    contactId: "contact-3",
    schedule: { datetime: { value: "2026-03-11T09:00:00", timeZone: "America/New_York" } },
  },
];

/** A unary call as a promise. */
const call = (client, method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, metadata, within(15), (error, answer) => (error ? reject(error) : resolve(answer))),
  );

/** Streams one item a message. The campaign and the options stand in the first message alone. */
async function add(client, requestId) {
  const answer = await new Promise((resolve, reject) => {
    const done = (error, value) => (error ? reject(error) : resolve(value));
    const stream = client.addAudience(metadata, within(15), done);
    const options = { requestId, defaultTimeZone: "America/New_York" };
    ITEMS.forEach((item, index) =>
      stream.write({ items: [item], ...(index === 0 && { campaignId: CAMPAIGN, options }) }),
    );
    stream.end();
  });
  for (const { index, disposition, added, replayed } of answer.results) {
    console.log(`  ${index}: ${disposition} ${added?.messageId ?? ""}${replayed ? " (replayed)" : ""}`);
  }
  return answer;
}

/** The status's google.rpc details: why it failed, and how long to wait, if waiting helps. */
function details(error) {
  const [encoded] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const found = {};
  for (const { type_url: type, value } of encoded ? rpc["google.rpc.Status"].deserialize(encoded).details : []) {
    const name = type.split("/").pop();
    if (rpc[name]) found[name.split(".").pop()] = rpc[name].deserialize(value);
  }
  const { seconds, nanos } = found.RetryInfo?.retryDelay ?? {};
  return { info: found.ErrorInfo, wait: found.RetryInfo && seconds + nanos / 1e9 };
}

/** Only a QUEUED message can be cancelled: while it is PENDING, the server says how long to wait. */
async function cancel(client, messageId) {
  const giveUp = Date.now() + 30_000;
  for (;;) {
    try {
      return (await call(client, "cancelMessage", { campaignId: CAMPAIGN, messageId })).message;
    } catch (error) {
      const { info, wait } = details(error);
      if (info?.reason !== "MESSAGE_NOT_CANCELLABLE" || wait === undefined || Date.now() > giveUp) throw error;
      console.log(`  not yet (${info.metadata.message_status}): waiting ${wait} s`);
      await sleep(wait * 1000);
    }
  }
}

/** The ids of the campaign's messages. The last page has no token for another. */
async function messages(client) {
  const ids = new Set();
  let pageToken = "";
  do {
    const page = await call(client, "listMessages", { campaignId: CAMPAIGN, pageSize: 100, pageToken });
    page.messages.forEach((m) => ids.add(m.messageId));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return ids;
}

/** What a file of contacts would hold in these rows. */
const rows = (first, last) =>
  Array.from({ length: last - first }, (_, n) => ({
    itemId: `row-${first + n}`,
    identifier: `55119${String(first + n).padStart(8, "0")}`,
    schedule: { immediate: {} },
  }));

/** Streams items and reads their results meanwhile. */
async function ingest(client, requestId, items, firstIndex = 0) {
  const stream = client.ingestAudience(metadata, within(60));
  const over = new AbortController();
  let told;
  const someTold = new Promise((resolve) => (told = resolve));

  async function send() {
    stream.write({ campaignId: CAMPAIGN, options: { requestId, firstIndex } });
    for (let start = 0; start < items.length; start += 50) {
      // Only to show it: results come while items still go up.
      if (start + 50 >= items.length) assert(await someTold, "results come while items still go up");
      // The server reads no faster than it can send on: `drain` says when there is room again.
      const room = stream.write({ items: items.slice(start, start + 50) });
      if (!room) await once(stream, "drain", { signal: over.signal });
    }
    stream.end();
  }

  const results = [];
  let settled = firstIndex;
  let last;
  async function read() {
    // The loop ends when the stream ends with OK; any other status throws. Every item below settledThrough has its
    // result: who loses the connection may go on there, with that as firstIndex (or at the first result that is
    // NOT_ATTEMPTED or PENDING, where there is one).
    for await (const response of stream) {
      assert.equal(response.requestId, requestId, "every message names the ingestion");
      assert(!last?.summary, "the last message alone has the summary");
      results.push(...response.results);
      assert(response.settledThrough >= settled, "settledThrough never goes back");
      assert(response.settledThrough <= firstIndex + results.length, "all below settledThrough have their results");
      settled = response.settledThrough;
      last = response;
      if (results.length > 0) told(true);
    }
  }

  // A sender that still waits when the stream has ended waits in vain.
  const reading = read().finally(() => {
    told(false);
    over.abort();
  });
  await Promise.all([reading, send()]);
  const end = firstIndex + items.length;
  assert.deepEqual(results.map((r) => r.index), items.map((_, n) => firstIndex + n), "one result an item, in order");
  assert.equal(settled, end);
  assert(last.summary, "the last message has the summary");
  assert.equal(last.termination, null, "nothing ended it early");
  const { received, added, replayed } = last.summary;
  assert.deepEqual([received, added], [items.length, items.length], "all are added");
  assert.equal(replayed, results.filter((r) => r.replayed).length, "the summary counts the replayed");
  console.log(`  ${firstIndex} to ${end - 1}: ${added} added, ${replayed} of them replayed`);
  return results;
}

/** What became of an ingestion, page by page, for who lost the answer. */
async function ingestion(client, requestId) {
  const results = [];
  let page = { nextPageToken: "" };
  do {
    const request = { campaignId: CAMPAIGN, requestId, pageSize: 150, pageToken: page.nextPageToken };
    page = await call(client, "getIngestion", request);
    assert.equal(page.state, "INGESTION_STATE_ENDED");
    results.push(...page.results);
  } while (page.nextPageToken !== "");
  assert.deepEqual([page.summary.received, page.summary.added], [results.length, results.length]);
  return results;
}

const facts = (results) => results.map((r) => [r.index, r.itemId, r.disposition, r.added.messageId]);

async function main(target) {
  const client = new CampaignsService(target, grpc.credentials.createInsecure(), {
    "grpc.service_config": readFileSync(path("../../proto/service_config.json"), "utf8"),
  });

  const requestId = randomUUID();
  console.log(`AddAudience, request_id ${requestId}`);
  const first = await add(client, requestId);
  assert.deepEqual(first.results.map((r) => r.disposition), Array(3).fill("DISPOSITION_ADDED"));
  const ids = first.results.map((r) => r.added.messageId);

  console.log("GetMessage, as the upstream has it now");
  for (const messageId of ids) {
    const request = { campaignId: CAMPAIGN, messageId, maxStaleness: { seconds: 0 } };
    const { message } = await call(client, "getMessage", request);
    console.log(`  ${message.messageId}: ${message.upstreamStatus}`);
    assert.equal(message.messageId, messageId);
  }

  const listed = await messages(client);
  console.log(`ListMessages: ${listed.size} messages`);
  assert(ids.every((id) => listed.has(id)), "the list has all three");

  console.log(`CancelMessage ${ids[2]}`);
  assert.equal((await cancel(client, ids[2])).status, "MESSAGE_STATUS_CANCELLED");

  console.log("WatchMessages until all three are at rest");
  const latest = new Map();
  const watch = { campaignId: CAMPAIGN, messageIds: ids, completeWhenTerminal: true };
  // The loop ends when the stream ends with OK; any other status throws.
  for await (const response of client.watchMessages(watch, metadata, within(90))) {
    for (const { message } of response.changes?.changes ?? []) {
      latest.set(message.messageId, message.upstreamStatus);
      console.log(`  ${message.messageId}: ${message.upstreamStatus}`);
    }
  }
  assert.deepEqual([...latest.keys()].sort(), [...ids].sort());
  assert([...latest.values()].every((status) => ["SENT", "FAILED", "CANCELLED"].includes(status)), "all three ended");
  assert.equal(latest.get(ids[2]), "CANCELLED");

  console.log("AddAudience again, with the same request_id: nothing is sent twice");
  const again = await add(client, requestId);
  assert(again.results.every((r) => r.replayed), "every result is replayed");
  assert.deepEqual(again.results.map((r) => r.added.messageId), ids);

  const importId = randomUUID();
  console.log(`IngestAudience, request_id ${importId}`);
  const before = await messages(client);
  const told = await ingest(client, importId, rows(0, 300));
  assert(told.every((r) => !r.replayed), "all are new");

  console.log("IngestAudience again, with the same request_id: nothing is sent twice");
  const repeated = await ingest(client, importId, rows(0, 300));
  assert(repeated.every((r) => r.replayed), "every result is replayed");
  assert.deepEqual(facts(repeated), facts(told));

  console.log("IngestAudience resumed at row 200, with the same request_id and more rows");
  const resumed = await ingest(client, importId, rows(200, 400), 200);
  assert(resumed.every((r) => r.replayed === r.index < 300), "only what is new is sent");
  assert.deepEqual(facts(resumed.slice(0, 100)), facts(told.slice(200)));
  told.push(...resumed.slice(100));
  const fresh = [...(await messages(client))].filter((id) => !before.has(id));
  assert.equal(fresh.length, 400);
  assert.deepEqual(fresh.sort(), told.map((r) => r.added.messageId).sort(), "one message a row, and no other");

  console.log("GetIngestion, page by page");
  const got = await ingestion(client, importId);
  console.log(`  ${got.length} results`);
  assert.deepEqual(facts(got), facts(told));

  console.log("GetMessage of a message that is not there");
  const missing = { campaignId: CAMPAIGN, messageId: "no-such-message" };
  const error = await call(client, "getMessage", missing).then(() => assert.fail("an unknown message"), (e) => e);
  const { info } = details(error);
  console.log(`  ${grpc.status[error.code]}: ${info?.reason} (${info?.domain})`);
  assert.equal(error.code, grpc.status.NOT_FOUND);
  assert.equal(info?.reason, "MESSAGE_NOT_FOUND");

  client.close();
  console.log("OK");
}

assert(process.argv.length === 3, "usage: node main.js HOST:PORT");
await main(process.argv[2]);
