// Reads, cancels and watches from a page, by gRPC-Web, and checks every answer. Browsers cannot stream requests, so
// that contacts are added by servers (AddAudience, IngestAudience), not by pages.
//
// The page's address says where the service is: page.html?service=http://127.0.0.1:50051

import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const CAMPAIGN = "camp-seeded";
const service = new URLSearchParams(location.search).get("service");

function say(line) {
  document.getElementById("log").textContent += `${line}\n`;
}

function check(holds, what) {
  if (!holds) throw new Error(`not so: ${what}`);
  say(`so: ${what}`);
}

/** The contract as it is: no generated code. */
async function contract() {
  const bytes = await (await fetch("contract.binpb")).arrayBuffer();
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, new Uint8Array(bytes)));
}

async function run() {
  const registry = await contract();
  const transport = createGrpcWebTransport({ baseUrl: service, defaultTimeoutMs: 15_000 });
  const campaigns = createClient(registry.getService("blubash.campaigns.v1.CampaignsService"), transport);
  const options = { headers: { "x-api-key": "sandbox-key-acme" } };
  const info = registry.getMessage("google.rpc.ErrorInfo");

  const page = await campaigns.listMessages({ campaignId: CAMPAIGN, pageSize: 50 }, options);
  check(page.messages.length > 3, "a page of messages is read");
  const queued = page.messages.find((message) => message.upstreamStatus === "QUEUED");
  const one = await campaigns.getMessage({ campaignId: CAMPAIGN, messageId: queued.messageId }, options);
  check(one.message.messageId === queued.messageId, "one message is read");

  const leaving = new AbortController();
  const watch = campaigns.watchMessages({ campaignId: CAMPAIGN }, { ...options, signal: leaving.signal, timeoutMs: 0 });
  let cancelled = false;
  let token = "";
  for await (const update of watch) {
    token = update.resumeToken || token;
    const text = JSON.stringify(update, (_, value) => (typeof value === "bigint" ? `${value}` : value));
    if (!cancelled && update.event.case === "snapshotComplete") {
      const answer = await campaigns.cancelMessage({ campaignId: CAMPAIGN, messageId: queued.messageId }, options);
      check(answer.message.upstreamStatus === "CANCELLED", "a message is cancelled");
      cancelled = true;
    } else if (cancelled && text.includes(queued.messageId)) {
      check(text.includes("CANCELLED"), "the watch tells of it");
      break;
    }
  }
  leaving.abort();
  check(token !== "", "the watch gives a token to go on from");

  try {
    await campaigns.getMessage({ campaignId: CAMPAIGN, messageId: "no-such-message" }, options);
    check(false, "an unknown message is an error");
  } catch (fault) {
    const error = ConnectError.from(fault);
    check(error.code === Code.NotFound, "an unknown message is NOT_FOUND");
    check(error.findDetails(info)[0]?.reason === "MESSAGE_NOT_FOUND", "its reason can be read");
  }
  try {
    await campaigns.getMessage({ campaignId: CAMPAIGN, messageId: queued.messageId });
    check(false, "a call without a key is an error");
  } catch (fault) {
    check(ConnectError.from(fault).code === Code.Unauthenticated, "a call without a key is UNAUTHENTICATED");
  }
}

const ended = await run().then(
  () => "ok",
  (fault) => `FAILED: ${fault.stack ?? fault}`,
);
say(ended);
await fetch("result", { method: "POST", body: document.getElementById("log").textContent });
