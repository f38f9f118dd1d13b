import sys
import grpc
from blubash.campaigns.v1 import campaigns_service_pb2 as pb, campaigns_service_pb2_grpc as rpc

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
with grpc.insecure_channel(address) as channel:
    service = rpc.CampaignsServiceStub(channel)
    request = pb.ListMessagesRequest(campaign_id="camp-seeded", page_size=3)
    answer = service.ListMessages(request, timeout=5, metadata=[("x-api-key", "sandbox-key-acme")])
    for message in answer.messages:
        print(message.message_id, message.upstream_status)
