package sealane_test

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"testing"

	sealane "github.com/sealane/sealane/clients/go"
)

const embeddingModel = "text-embedding-3-large"

func chunks(count int) iter.Seq[sealane.Item] {
	return func(yield func(sealane.Item) bool) {
		for i := range count {
			if !yield(sealane.Item{ID: fmt.Sprintf("chunk-%d", i), Text: fmt.Sprintf("chunk number %d of a book", i)}) {
				return
			}
		}
	}
}

func TestAnIngestionSurvivesAPrimaryThatDiesThrottlesAndReturns(t *testing.T) {
	const count = 12_000
	real := realService(t)
	client, ctx := real.client(t), within(t)
	undisturbed := map[string][]float32{}
	for item, err := range client.EmbedMany(ctx, embeddingModel, chunks(count), sealane.WithDimensions(16)).Results() {
		if err != nil || item.Err != nil {
			t.Fatal(err, item.Err)
		}
		undisturbed[item.ID] = item.Vector
	}
	ingestion := client.EmbedMany(ctx, embeddingModel, chunks(count), sealane.WithDimensions(16))
	answered := map[string]bool{}
	for item, err := range ingestion.Results() {
		if err != nil || item.Err != nil {
			t.Fatal(err, item.Err)
		}
		if answered[item.ID] || !slices.Equal(item.Vector, undisturbed[item.ID]) {
			t.Fatalf("%s has two answers, or another vector than before", item.ID)
		}
		answered[item.ID] = true
		// More than may be unanswered lies between the events, so that items are sent under each of them.
		switch len(answered) {
		case 500:
			real.primary.fault(t, "down")
		case 5500:
			real.primary.control(t, http.MethodDelete, "faults", nil)
			real.primary.fault(t, "throttle", "retry_after_seconds", 1)
		case 10_500:
			real.primary.control(t, http.MethodDelete, "faults", nil)
		}
	}
	summary := ingestion.Summary()
	if len(answered) != count || summary.Embedded != count || len(summary.ByRegion) != 2 || summary.Streams != 1 {
		t.Error(len(answered), summary)
	}
}

func TestAPoisonChunkCostsOnlyItself(t *testing.T) {
	texts := slices.Repeat([]string{"a harmless text"}, 300)
	texts[150] = "a text with simulate-prompt-block in it"
	client := realService(t).client(t)
	failed := 0
	for item, err := range client.EmbedMany(within(t), embeddingModel, sealane.Texts(texts...), sealane.WithDimensions(8)).Results() {
		if err != nil {
			t.Fatal(err)
		}
		var refused *sealane.ItemError
		if errors.As(item.Err, &refused) {
			failed++
			if refused.ID != "150" || refused.Reason != "PROMPT_BLOCKED" {
				t.Error(refused)
			}
		}
	}
	if failed != 1 {
		t.Error(failed)
	}
}
