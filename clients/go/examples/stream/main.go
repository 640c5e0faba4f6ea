// An answer as it is generated: go run ./examples/stream
package main

import (
	"context"
	"fmt"
	"log"

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

	stream, err := client.Stream(context.Background(), &sealanev1.CompleteStreamRequest{
		Model:    "gpt-4o",
		Messages: []*sealanev1.Message{sealane.User("Why is the sky blue?")},
	})
	if err != nil {
		log.Fatal(err)
	}
	for piece, err := range stream.TextChunks() {
		if sealane.IsStreamInterrupted(err) {
			log.Fatalf("\ncut off in %s; what you see is not the whole answer", sealane.RegionOf(err))
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(piece)
	}
	fmt.Println()
	log.Printf("served by %s", stream.ServedBy().GetRegion())
}
