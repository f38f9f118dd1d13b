// Adds three contacts to a campaign, follows their messages to the end, imports a few hundred more, and checks
// every answer.
//
// usage: go run . HOST:PORT   (`./run HOST:PORT` generates the stubs first)
// BLUBASH_API_KEY is the workspace's key; without it, the sandbox's.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/blubash-grpc/blubash-grpc/gen/go/blubash/campaigns/v1"
)

const campaign = "camp-evergreen"

// call gives a call its key and its deadline: without a deadline, it waits for as long as the server lets it.
func call(timeout time.Duration) (context.Context, context.CancelFunc) {
	key := cmp.Or(os.Getenv("BLUBASH_API_KEY"), "sandbox-key-acme")
	return context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "x-api-key", key), timeout)
}

func check(truth bool, what string) {
	if !truth {
		log.Fatal("FAILED: ", what)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal("FAILED: ", err)
	}
	return value
}

// items are the three contacts of the vendor's own example, one for each way to say when.
func items() []*pb.AudienceItem {
	fields := must(structpb.NewStruct(map[string]any{"cf_plan": "pro", "cf_source": "api"}))
	at := time.Date(2026, 3, 10, 14, 30, 0, 0, time.UTC)
	wall := &pb.IsoDateTime{Value: "2026-03-11T09:00:00", TimeZone: "America/New_York"}
	return []*pb.AudienceItem{
		{
			Recipient: &pb.AudienceItem_ContactId{ContactId: "contact-1"},
			Schedule:  &pb.Schedule{When: &pb.Schedule_Immediate{Immediate: &pb.Immediate{}}},
		},
		{
			Recipient:    &pb.AudienceItem_Identifier{Identifier: "5511999999999"},
			Name:         "Jane Smith",
			Email:        "jane@example.com",
			CustomFields: fields,
			Tags:         []string{"Hot Lead", "VIP Customer"},
			Schedule:     &pb.Schedule{When: &pb.Schedule_At{At: timestamppb.New(at)}},
		},
		{
			Recipient: &pb.AudienceItem_ContactId{ContactId: "contact-3"},
			Schedule:  &pb.Schedule{When: &pb.Schedule_Datetime{Datetime: wall}},
		},
	}
}

// add streams one item a message. The campaign and the options stand in the first message alone.
func add(api pb.CampaignsServiceClient, requestID string) []*pb.AudienceItemResult {
	ctx, done := call(15 * time.Second)
	defer done()
	stream := must(api.AddAudience(ctx))
	for i, item := range items() {
		request := &pb.AddAudienceRequest{Items: []*pb.AudienceItem{item}}
		if i == 0 {
			request.CampaignId = campaign
			request.Options = &pb.AudienceOptions{RequestId: requestID, DefaultTimeZone: "America/New_York"}
		}
		if stream.Send(request) != nil {
			break // The call has ended already, and CloseAndRecv says how.
		}
	}
	results := must(stream.CloseAndRecv()).Results
	for _, r := range results {
		fmt.Printf("  %d: %v %s replayed=%v\n", r.Index, r.Disposition, r.GetAdded().GetMessageId(), r.Replayed)
	}
	check(len(results) == 3, "three results")
	return results
}

func get(api pb.CampaignsServiceClient, id string) (*pb.CampaignMessage, error) {
	ctx, done := call(15 * time.Second)
	defer done()
	// 0 s: as the upstream has it now, past the cache.
	request := &pb.GetMessageRequest{CampaignId: campaign, MessageId: id, MaxStaleness: durationpb.New(0)}
	answer, err := api.GetMessage(ctx, request)
	return answer.GetMessage(), err
}

// list asks for page after page until there is no token for another.
func list(api pb.CampaignsServiceClient) (listed []string) {
	for token := ""; ; {
		ctx, done := call(15 * time.Second)
		page := must(api.ListMessages(ctx, &pb.ListMessagesRequest{CampaignId: campaign, PageSize: 100, PageToken: token}))
		done()
		for _, m := range page.Messages {
			listed = append(listed, m.MessageId)
		}
		if token = page.NextPageToken; token == "" {
			return listed
		}
	}
}

// details are the status's google.rpc details: why it failed, and how long to wait, if waiting helps.
func details(err error) (info *errdetails.ErrorInfo, retry *errdetails.RetryInfo) {
	for _, detail := range status.Convert(err).Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	return info, retry
}

// cancel waits until the message is QUEUED: only then can it be cancelled, and while it is PENDING the server says
// how long to wait.
func cancel(api pb.CampaignsServiceClient, id string) *pb.CampaignMessage {
	for giveUp := time.Now().Add(30 * time.Second); ; {
		ctx, done := call(15 * time.Second)
		answer, err := api.CancelMessage(ctx, &pb.CancelMessageRequest{CampaignId: campaign, MessageId: id})
		done()
		info, retry := details(err)
		if info.GetReason() != "MESSAGE_NOT_CANCELLABLE" || retry == nil || time.Now().After(giveUp) {
			return must(answer, err).Message
		}
		wait := retry.RetryDelay.AsDuration()
		fmt.Printf("  not yet (%s): waiting %v\n", info.Metadata["message_status"], wait)
		time.Sleep(wait)
	}
}

// watch reads until the stream ends with OK: once all of the messages are at rest.
func watch(api pb.CampaignsServiceClient, ids []string) map[string]string {
	ctx, done := call(90 * time.Second)
	defer done()
	stream := must(api.WatchMessages(ctx, &pb.WatchMessagesRequest{
		CampaignId: campaign, MessageIds: ids, CompleteWhenTerminal: true,
	}))
	latest := map[string]string{}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return latest
		}
		for _, change := range must(response, err).GetChanges().GetChanges() {
			latest[change.Message.MessageId] = change.Message.UpstreamStatus
			fmt.Printf("  %s: %s\n", change.Message.MessageId, change.Message.UpstreamStatus)
		}
	}
}

// rows are what a file of contacts would hold in these rows.
func rows(first, last int) (items []*pb.AudienceItem) {
	for n := first; n < last; n++ {
		items = append(items, &pb.AudienceItem{
			ItemId:    fmt.Sprintf("row-%d", n),
			Recipient: &pb.AudienceItem_Identifier{Identifier: fmt.Sprintf("55119%08d", n)},
			Schedule:  &pb.Schedule{When: &pb.Schedule_Immediate{Immediate: &pb.Immediate{}}},
		})
	}
	return items
}

// ingest streams items and reads their results meanwhile: one goroutine sends, another receives.
func ingest(api pb.CampaignsServiceClient, requestID string, items []*pb.AudienceItem, first int64) []*pb.AudienceItemResult {
	ctx, done := call(60 * time.Second)
	defer done()
	stream := must(api.IngestAudience(ctx))

	told, sent := make(chan struct{}), make(chan error, 1)
	go func() { sent <- send(stream, requestID, items, first, told) }()

	var results []*pb.AudienceItemResult
	var last *pb.IngestAudienceResponse
	settled := first
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break // The stream ended with OK.
		}
		must(response, err)
		check(response.RequestId == requestID, "every message names the ingestion")
		check(last.GetSummary() == nil, "the last message alone has the summary")
		if len(results) == 0 && len(response.Results) > 0 {
			close(told)
		}
		results = append(results, response.Results...)
		// Every item below settled_through has its result: who loses the connection may go on there, with that as
		// first_index (or at the first result that is NOT_ATTEMPTED or PENDING, where there is one).
		check(settled <= response.SettledThrough && response.SettledThrough <= first+int64(len(results)),
			"settled_through tells the truth")
		settled, last = response.SettledThrough, response
	}
	check(<-sent == nil, "results come while items still go up, and all are sent")

	end := first + int64(len(items))
	check(len(results) == len(items) && settled == end, "one result an item")
	var replayed int64
	for i, r := range results {
		check(r.Index == first+int64(i), "in order")
		if r.Replayed {
			replayed++
		}
	}
	summary := last.GetSummary()
	check(summary != nil && last.Termination == nil, "the last message has the summary, and nothing ended it early")
	check(summary.Received == end-first && summary.Added == end-first, "all are added")
	check(summary.Replayed == replayed, "the summary counts the replayed")
	fmt.Printf("  %d to %d: %d added, %d of them replayed\n", first, end-1, summary.Added, replayed)
	return results
}

// send sends all items, and half-closes: without CloseSend the server waits for more.
func send(stream pb.CampaignsService_IngestAudienceClient, requestID string, items []*pb.AudienceItem, first int64,
	told <-chan struct{}) error {
	head := &pb.IngestAudienceRequest{
		CampaignId: campaign,
		Options:    &pb.AudienceOptions{RequestId: requestID, FirstIndex: first},
	}
	if err := stream.Send(head); err != nil {
		return err // io.EOF: the call has ended already, and Recv says how.
	}
	for start := 0; start < len(items); start += 50 {
		end := min(start+50, len(items))
		if end == len(items) {
			// Only to show it: results come while items still go up.
			select {
			case <-told:
			case <-stream.Context().Done():
				return io.EOF // The call has ended: who waits on anything else than Send must look at this, too.
			}
		}
		// It blocks while the server has no room: the server reads no faster than it can send on.
		if err := stream.Send(&pb.IngestAudienceRequest{Items: items[start:end]}); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}

// ingestion is what became of an ingestion, page by page, for who lost the answer.
func ingestion(api pb.CampaignsServiceClient, requestID string) (results []*pb.AudienceItemResult) {
	for token := ""; ; {
		ctx, done := call(15 * time.Second)
		page := must(api.GetIngestion(ctx, &pb.GetIngestionRequest{
			CampaignId: campaign, RequestId: requestID, PageSize: 150, PageToken: token,
		}))
		done()
		check(page.State == pb.IngestionState_INGESTION_STATE_ENDED, "it has ended")
		results = append(results, page.Results...)
		if token = page.NextPageToken; token == "" {
			check(page.Summary.GetReceived() == int64(len(results)), "its summary counts every item once")
			return results
		}
	}
}

// same says whether both are the same results of the same items, replayed or not.
func same(a, b []*pb.AudienceItemResult) bool {
	return slices.EqualFunc(a, b, func(a, b *pb.AudienceItemResult) bool {
		return a.Index == b.Index && a.ItemId == b.ItemId && a.Disposition == b.Disposition &&
			a.GetAdded().GetMessageId() == b.GetAdded().GetMessageId()
	})
}

func main() {
	log.SetFlags(0)
	check(len(os.Args) == 2, "usage: go run . HOST:PORT")
	conn := must(grpc.NewClient(os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(must(os.ReadFile("../../proto/service_config.json")))),
	))
	defer conn.Close()
	api := pb.NewCampaignsServiceClient(conn)

	requestID := rand.Text()
	fmt.Println("AddAudience, request_id", requestID)
	var ids []string
	for _, r := range add(api, requestID) {
		check(r.Disposition == pb.Disposition_DISPOSITION_ADDED, "all three are added")
		ids = append(ids, r.Added.MessageId)
	}

	fmt.Println("GetMessage, as the upstream has it now")
	for _, id := range ids {
		m := must(get(api, id))
		fmt.Printf("  %s: %s\n", m.MessageId, m.UpstreamStatus)
		check(m.MessageId == id, "the message that was asked for")
	}

	listed := list(api)
	fmt.Printf("ListMessages: %d messages\n", len(listed))
	for _, id := range ids {
		check(slices.Contains(listed, id), "the list has all three")
	}

	fmt.Println("CancelMessage", ids[2])
	check(cancel(api, ids[2]).Status == pb.MessageStatus_MESSAGE_STATUS_CANCELLED, "the third is cancelled")

	fmt.Println("WatchMessages until all three are at rest")
	latest := watch(api, ids)
	for _, id := range ids {
		check(slices.Contains([]string{"SENT", "FAILED", "CANCELLED"}, latest[id]), "all three ended")
	}
	check(latest[ids[2]] == "CANCELLED", "the third ended as cancelled")

	fmt.Println("AddAudience again, with the same request_id: nothing is sent twice")
	for i, r := range add(api, requestID) {
		check(r.Replayed && r.GetAdded().GetMessageId() == ids[i], "every result is replayed")
	}

	requestID = rand.Text()
	fmt.Println("IngestAudience, request_id", requestID)
	before := list(api)
	told := ingest(api, requestID, rows(0, 300), 0)
	for _, r := range told {
		check(!r.Replayed, "all are new")
	}

	fmt.Println("IngestAudience again, with the same request_id: nothing is sent twice")
	again := ingest(api, requestID, rows(0, 300), 0)
	for _, r := range again {
		check(r.Replayed, "every result is replayed")
	}
	check(same(again, told), "the same messages")

	fmt.Println("IngestAudience resumed at row 200, with the same request_id and more rows")
	resumed := ingest(api, requestID, rows(200, 400), 200)
	for _, r := range resumed {
		check(r.Replayed == (r.Index < 300), "only what is new is sent")
	}
	check(same(resumed[:100], told[200:]), "the same messages")
	told = append(told, resumed[100:]...)
	var expected []string
	for _, r := range told {
		expected = append(expected, r.Added.MessageId)
	}
	expected = append(expected, before...)
	after := list(api)
	slices.Sort(expected)
	slices.Sort(after)
	check(slices.Equal(after, expected), "one message a row, and no other")

	fmt.Println("GetIngestion, page by page")
	got := ingestion(api, requestID)
	fmt.Printf("  %d results\n", len(got))
	check(same(got, told), "the same results")

	fmt.Println("GetMessage of a message that is not there")
	_, err := get(api, "no-such-message")
	info, _ := details(err)
	fmt.Printf("  %v: %s (%s)\n", status.Code(err), info.GetReason(), info.GetDomain())
	check(status.Code(err) == codes.NotFound && info.GetReason() == "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FOUND")
	fmt.Println("OK")
}
