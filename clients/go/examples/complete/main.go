// One answer, whole: go run ./examples/complete
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	sealane "github.com/sealane/sealane/clients/go"
	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

func main() {
	log.SetFlags(0)
	client, err := sealane.New("")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := client.Inference.Complete(ctx, &sealanev1.CompleteRequest{
		Model:    "gpt-4o",
		Messages: []*sealanev1.Message{sealane.User("Why is the sky blue?")},
	})
	switch {
	case sealane.IsThrottled(err):
		delay, _ := sealane.RetryDelayOf(err)
		log.Fatalf("busy; try again in %s", delay)
	case sealane.IsInvalidRequest(err):
		log.Fatal(sealane.ViolationsOf(err))
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(sealane.TextOf(reply))
	log.Printf("served by %s after %d attempt(s)", reply.GetServedBy().GetRegion(), len(reply.GetServedBy().GetAttempts()))
}
