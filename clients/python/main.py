"""Adds three contacts to a campaign, follows their messages to the end, imports a few hundred more, and checks
every answer.

usage: main.py HOST:PORT   (`./run HOST:PORT` installs the libraries and generates the stubs first)
BLUBASH_API_KEY is the workspace's key; without it, the sandbox's.
"""

import os
import pathlib
import sys
import threading
import time
import uuid

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from blubash.campaigns.v1 import audience_pb2 as audience
from blubash.campaigns.v1 import campaigns_service_pb2 as campaigns
from blubash.campaigns.v1 import campaigns_service_pb2_grpc as campaigns_grpc
from blubash.campaigns.v1 import message_pb2 as message

CAMPAIGN = "camp-evergreen"
SERVICE_CONFIG = pathlib.Path(__file__).parents[2] / "proto" / "service_config.json"
METADATA = [("x-api-key", os.environ.get("BLUBASH_API_KEY", "sandbox-key-acme"))]
# Every call has a deadline: without one, a call waits for as long as the server lets it.
CALL = {"metadata": METADATA, "timeout": 15}
TERMINAL = {message.MESSAGE_STATUS_SENT, message.MESSAGE_STATUS_FAILED, message.MESSAGE_STATUS_CANCELLED}


def check(truth, what):
    if not truth:
        sys.exit(f"FAILED: {what}")


def items():
    """The three contacts of the vendor's own example, one for each way to say when."""
    now = audience.AudienceItem(contact_id="contact-1", schedule=audience.Schedule(immediate=audience.Immediate()))

    at = audience.AudienceItem(identifier="5511999999999", name="Jane Smith", email="jane@example.com")
    at.custom_fields.update({"cf_plan": "pro", "cf_source": "api"})
    at.tags.extend(["Hot Lead", "VIP Customer"])
    at.schedule.at.FromJsonString("2026-03-10T14:30:00.000Z")

    wall_clock = audience.AudienceItem(contact_id="contact-3")
    wall_clock.schedule.datetime.value = "2026-03-11T09:00:00"
    wall_clock.schedule.datetime.time_zone = "America/New_York"
    return [now, at, wall_clock]


def add(api, request_id):
    """Streams one item a message. The campaign and the options stand in the first message alone."""
    options = audience.AudienceOptions(request_id=request_id, default_time_zone="America/New_York")
    requests = [campaigns.AddAudienceRequest(items=[item]) for item in items()]
    requests[0].campaign_id = CAMPAIGN
    requests[0].options.CopyFrom(options)
    answer = api.AddAudience(iter(requests), **CALL)
    for result in answer.results:
        word = audience.Disposition.Name(result.disposition)
        print(f"  {result.index}: {word} {result.added.message_id}{' (replayed)' if result.replayed else ''}")
    return answer


def details(error):
    """The status's google.rpc details: why it failed, and how long to wait, if waiting helps."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)
    has_retry = False
    for detail in status.details if status else []:
        detail.Unpack(info)
        has_retry |= detail.Unpack(retry)
    return info, retry.retry_delay.ToTimedelta().total_seconds() if has_retry else None


def cancel(api, message_id):
    """Only a QUEUED message can be cancelled: while it is PENDING, the server says how long to wait."""
    give_up = time.monotonic() + 30
    while True:
        try:
            request = campaigns.CancelMessageRequest(campaign_id=CAMPAIGN, message_id=message_id)
            return api.CancelMessage(request, **CALL).message
        except grpc.RpcError as error:
            info, wait = details(error)
            if info.reason != "MESSAGE_NOT_CANCELLABLE" or wait is None or time.monotonic() > give_up:
                raise
            print(f"  not yet ({info.metadata['message_status']}): waiting {wait} s")
            time.sleep(wait)


def messages(api):
    """The ids of the campaign's messages. The last page has no token for another."""
    ids, token = set(), None
    while token != "":
        page = api.ListMessages(
            campaigns.ListMessagesRequest(campaign_id=CAMPAIGN, page_size=100, page_token=token or ""), **CALL
        )
        ids.update(m.message_id for m in page.messages)
        token = page.next_page_token
    return ids


def rows(first, last):
    """What a file of contacts would hold in these rows."""
    now = audience.Schedule(immediate=audience.Immediate())
    return [audience.AudienceItem(item_id=f"row-{n}", identifier=f"55119{n:08}", schedule=now) for n in range(first, last)]


def ingest(api, request_id, items, first_index=0):
    """Streams items and reads their results meanwhile: the library sends from a thread of its own."""
    told, told_in_time = threading.Event(), []

    def requests():
        options = audience.AudienceOptions(request_id=request_id, first_index=first_index)
        yield campaigns.IngestAudienceRequest(campaign_id=CAMPAIGN, options=options)
        for start in range(0, len(items), 50):
            if start + 50 >= len(items):
                # Only to show it: results come while items still go up.
                told_in_time.append(told.wait(10))
            yield campaigns.IngestAudienceRequest(items=items[start : start + 50])

    results, settled, last = [], first_index, None
    # The loop ends when the stream ends with OK; any other status raises. Every item below settled_through has its
    # result: who loses the connection may go on there, with that as first_index (or at the first result that is
    # NOT_ATTEMPTED or PENDING, where there is one).
    for response in api.IngestAudience(requests(), metadata=METADATA, timeout=60):
        check(response.request_id == request_id, "every message names the ingestion")
        check(last is None or not last.HasField("summary"), "the last message alone has the summary")
        results.extend(response.results)
        check(settled <= response.settled_through <= first_index + len(results), "settled_through tells the truth")
        settled, last = response.settled_through, response
        if results:
            told.set()
    end = first_index + len(items)
    check(told_in_time == [True], "results come while items still go up")
    check([result.index for result in results] == list(range(first_index, end)), "one result an item, in order")
    check(settled == end and last.HasField("summary"), "the last message has the summary")
    check(not last.HasField("termination"), "nothing ended it early")
    check(last.summary.received == last.summary.added == len(items), "all are added")
    check(last.summary.replayed == sum(result.replayed for result in results), "the summary counts the replayed")
    print(f"  {first_index} to {end - 1}: {last.summary.added} added, {last.summary.replayed} of them replayed")
    return results


def ingestion(api, request_id):
    """What became of an ingestion, page by page, for who lost the answer."""
    results, token = [], None
    while token != "":
        request = campaigns.GetIngestionRequest(
            campaign_id=CAMPAIGN, request_id=request_id, page_size=150, page_token=token or ""
        )
        page = api.GetIngestion(request, **CALL)
        check(page.state == campaigns.INGESTION_STATE_ENDED, "it has ended")
        results.extend(page.results)
        token = page.next_page_token
    check(page.summary.received == page.summary.added == len(results), "its summary counts every item once")
    return results


def facts(results):
    return [(r.index, r.item_id, r.disposition, r.added.message_id) for r in results]


def main(target):
    channel = grpc.insecure_channel(target, options=[("grpc.service_config", SERVICE_CONFIG.read_text())])
    api = campaigns_grpc.CampaignsServiceStub(channel)

    request_id = str(uuid.uuid4())
    print(f"AddAudience, request_id {request_id}")
    first = add(api, request_id)
    check([r.disposition for r in first.results] == [audience.DISPOSITION_ADDED] * 3, "all three are added")
    ids = [result.added.message_id for result in first.results]

    print("GetMessage, as the upstream has it now")
    for message_id in ids:
        request = campaigns.GetMessageRequest(campaign_id=CAMPAIGN, message_id=message_id)
        request.max_staleness.CopyFrom(duration_pb2.Duration(seconds=0))
        got = api.GetMessage(request, **CALL).message
        print(f"  {got.message_id}: {got.upstream_status}")
        check(got.message_id == message_id, "the message that was asked for")

    listed = messages(api)
    print(f"ListMessages: {len(listed)} messages")
    check(listed.issuperset(ids), "the list has all three")

    print(f"CancelMessage {ids[2]}")
    check(cancel(api, ids[2]).status == message.MESSAGE_STATUS_CANCELLED, "the third is cancelled")

    print("WatchMessages until all three are at rest")
    latest = {}
    request = campaigns.WatchMessagesRequest(campaign_id=CAMPAIGN, message_ids=ids, complete_when_terminal=True)
    for response in api.WatchMessages(request, metadata=METADATA, timeout=90):
        for change in response.changes.changes:
            latest[change.message.message_id] = change.message.status
            print(f"  {change.message.message_id}: {change.message.upstream_status}")
    check(set(latest) == set(ids) and set(latest.values()) <= TERMINAL, "all three ended")
    check(latest[ids[2]] == message.MESSAGE_STATUS_CANCELLED, "the third ended as cancelled")

    print("AddAudience again, with the same request_id: nothing is sent twice")
    again = add(api, request_id)
    check(all(result.replayed for result in again.results), "every result is replayed")
    check([result.added.message_id for result in again.results] == ids, "the same messages")

    request_id = str(uuid.uuid4())
    print(f"IngestAudience, request_id {request_id}")
    before = messages(api)
    told = ingest(api, request_id, rows(0, 300))
    check(not any(result.replayed for result in told), "all are new")

    print("IngestAudience again, with the same request_id: nothing is sent twice")
    again = ingest(api, request_id, rows(0, 300))
    check(all(result.replayed for result in again), "every result is replayed")
    check(facts(again) == facts(told), "the same messages")

    print("IngestAudience resumed at row 200, with the same request_id and more rows")
    resumed = ingest(api, request_id, rows(200, 400), first_index=200)
    check([result.replayed for result in resumed] == [True] * 100 + [False] * 100, "only what is new is sent")
    check(facts(resumed[:100]) == facts(told[200:]), "the same messages")
    told += resumed[100:]
    new = messages(api) - before
    check(new == {result.added.message_id for result in told} and len(new) == 400, "one message a row, and no other")

    print("GetIngestion, page by page")
    got = ingestion(api, request_id)
    print(f"  {len(got)} results")
    check(facts(got) == facts(told), "the same results")

    print("GetMessage of a message that is not there")
    try:
        api.GetMessage(campaigns.GetMessageRequest(campaign_id=CAMPAIGN, message_id="no-such-message"), **CALL)
        check(False, "an unknown message is an error")
    except grpc.RpcError as error:
        info, _ = details(error)
        print(f"  {error.code().name}: {info.reason} ({info.domain})")
        check(error.code() == grpc.StatusCode.NOT_FOUND and info.reason == "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND")
    print("OK")


if __name__ == "__main__":
    check(len(sys.argv) == 2, "usage: main.py HOST:PORT")
    main(sys.argv[1])
