"""Adds three contacts to a campaign, follows their messages to the end, and checks every answer.

usage: main.py HOST:PORT   (`./run HOST:PORT` installs the libraries and generates the stubs first)
BLUBASH_API_KEY is the workspace's key; without it, the sandbox's.
"""

import os
import pathlib
import sys
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

    listed, token = set(), None
    while token != "":
        page = api.ListMessages(
            campaigns.ListMessagesRequest(campaign_id=CAMPAIGN, page_size=2, page_token=token or ""), **CALL
        )
        listed.update(m.message_id for m in page.messages)
        token = page.next_page_token
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
