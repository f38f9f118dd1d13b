package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/blubash-grpc/blubash-grpc/gen/go/blubash/campaigns/v1"
)

func main() {
	address := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", "sandbox-key-acme")
	request := &pb.ListMessagesRequest{CampaignId: "camp-seeded", PageSize: 3}
	answer, err := pb.NewCampaignsServiceClient(conn).ListMessages(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	for _, message := range answer.Messages {
		fmt.Println(message.MessageId, message.UpstreamStatus)
	}
}
