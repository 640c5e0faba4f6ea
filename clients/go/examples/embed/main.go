// Vectors for a small document, kept to one region by a workflow, and their similarity: go run ./examples/embed
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

	texts := []string{"The sky is blue.", "Why does the sky look blue?", "Invoices are due in 30 days."}
	ingestion := sealane.NewWorkflow("")
	reply, err := client.Inference.Embed(context.Background(), &sealanev1.EmbedRequest{
		Model:   "text-embedding-3-large",
		Inputs:  texts,
		Routing: ingestion.Routing(&sealanev1.RoutingOptions{Priority: sealanev1.Priority_PRIORITY_BULK}),
	})
	if err != nil {
		log.Fatal(err)
	}
	ingestion.Remember(reply.GetServedBy())

	vectors := sealane.VectorsOf(reply)
	for i, vector := range vectors {
		fmt.Printf("%+.3f  %s\n", dot(vectors[0], vector), texts[i])
	}
	log.Printf("%d dimensions, space %s, pinned to %s", reply.GetDimensions(), reply.GetEmbeddingSpace(), ingestion.PinnedRegion())
}

func dot(a, b []float32) (sum float32) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}
