package sealane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

const space = "text-embedding-3-large/1/3072"

type embedServer = grpc.BidiStreamingServer[sealanev1.EmbedStreamRequest, sealanev1.EmbedStreamResponse]

// embedding is one stream of a scripted server, after its opening.
type embedding struct {
	embedServer
	number int // of the stream, from 1
}

func (e embedding) item() (*sealanev1.EmbedItem, error) {
	request, err := e.Recv()
	return request.GetItem(), err
}

func (e embedding) answer(item *sealanev1.EmbedItem, space string) error {
	vector := &sealanev1.Embedding{PackedValues: []byte{0, 0, 128, 63, 0, 0, 0, byte(len(item.GetText()))}}
	return e.say(&sealanev1.EmbedItemResult{
		Id: item.GetId(), Region: "swedencentral", EmbeddingSpace: space,
		Outcome: &sealanev1.EmbedItemResult_Embedding{Embedding: vector},
	})
}

func (e embedding) refuse(item *sealanev1.EmbedItem) error {
	why := &sealanev1.EmbedItemError{Reason: "PROMPT_BLOCKED", Message: "blocked"}
	return e.say(&sealanev1.EmbedItemResult{Id: item.GetId(), Outcome: &sealanev1.EmbedItemResult_Error{Error: why}})
}

func (e embedding) say(result *sealanev1.EmbedItemResult) error {
	return e.Send(&sealanev1.EmbedStreamResponse{Event: &sealanev1.EmbedStreamResponse_Result{Result: result}})
}

func (e embedding) summary() error {
	summary := &sealanev1.EmbedSummary{Usage: &sealanev1.Usage{TotalTokens: 7}, PinnedRegion: "francecentral"}
	return e.Send(&sealanev1.EmbedStreamResponse{Event: &sealanev1.EmbedStreamResponse_Summary{Summary: summary}})
}

// each answers every item as script says, then tells the summary.
func each(script func(embedding, *sealanev1.EmbedItem) error) func(embedding) error {
	return func(stream embedding) error {
		for {
			item, err := stream.item()
			if errors.Is(err, io.EOF) {
				return stream.summary()
			}
			if err == nil {
				err = script(stream, item)
			}
			if err != nil {
				return err
			}
		}
	}
}

func answered(stream embedding, item *sealanev1.EmbedItem) error { return stream.answer(item, space) }

// ingests is a server whose streams a test scripts.
type ingests struct {
	scripted
	script func(embedding) error
	mutex  sync.Mutex
	opened []*sealanev1.EmbedStreamOpen
}

func (s *ingests) EmbedStream(stream embedServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	s.mutex.Lock()
	s.opened = append(s.opened, first.GetOpen())
	number := len(s.opened)
	s.mutex.Unlock()
	return s.script(embedding{stream, number})
}

func numbered(count int) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for i := range count {
			if !yield(Item{ID: fmt.Sprint(i), Text: fmt.Sprintf("text %d", i)}) {
				return
			}
		}
	}
}

// results is what came, each id once, and how it ended.
func results(t *testing.T, ingestion *Ingestion) (map[string]EmbeddedItem, error) {
	t.Helper()
	items := map[string]EmbeddedItem{}
	for item, err := range ingestion.Results() {
		if err != nil {
			return items, err
		}
		if _, twice := items[item.ID]; twice {
			t.Errorf("%s has two answers", item.ID)
		}
		items[item.ID] = item
	}
	return items, nil
}

func embedScripted(t *testing.T, script func(embedding) error) (*Client, *ingests) {
	service := &ingests{script: script}
	return serve(t, service), service
}

func TestEveryItemHasItsAnswer(t *testing.T) {
	client, service := embedScripted(t, each(answered))
	workflow, told := NewWorkflow("w"), 0
	for range 2 {
		ingestion := client.EmbedMany(t.Context(), "m", Texts("a", "bb", "ccc"), WithDimensions(2), WithWorkflow(workflow),
			WithRouting(&sealanev1.RoutingOptions{DataBoundary: "eu"}),
			WithProgress(func(sofar IngestionSummary) { told = sofar.Embedded }))
		vectors, err := ingestion.Vectors()
		if err != nil || len(vectors) != 3 || vectors[2][0] != 1 || len(vectors[2]) != 2 {
			t.Fatal(vectors, err)
		}
		expected := IngestionSummary{
			Embedded: 3, ByRegion: map[string]int{"swedencentral": 3}, Space: space, Dimensions: 2, TotalTokens: 7, Streams: 1,
		}
		if summary := ingestion.Summary(); fmt.Sprint(summary) != fmt.Sprint(expected) || told != 3 {
			t.Error(summary, told)
		}
	}
	first, second := service.opened[0], service.opened[1]
	if first.GetModel() != "m" || first.GetDimensions() != 2 || first.GetRouting().GetDataBoundary() != "eu" {
		t.Error(first)
	}
	if first.GetRouting().GetPinnedRegion() != "" || second.GetRouting().GetPinnedRegion() != "francecentral" {
		t.Error("the workflow's pin is told by the summary", first, second)
	}
}

func TestABrokenStreamIsOpenedAgainForWhatHasNoAnswer(t *testing.T) {
	var sent [3][]string
	client, _ := embedScripted(t, func(stream embedding) error {
		taken := &sent[stream.number-1]
		return each(func(stream embedding, item *sealanev1.EmbedItem) error {
			*taken = append(*taken, item.GetId())
			switch {
			case stream.number == 3 || len(*taken)%3 == 0:
				return stream.answer(item, space)
			case len(*taken) == 20 && stream.number == 1:
				return status.Error(codes.Unavailable, "the connection broke")
			case len(*taken) == 20:
				return nil
			case len(*taken) > 40:
				return status.Error(codes.Internal, "stream terminated by RST_STREAM")
			}
			return nil
		})(stream)
	})
	var pauses []error
	ingestion := client.EmbedMany(t.Context(), "m", numbered(100),
		WithReconnecting(func(err error, _ time.Duration) { pauses = append(pauses, err) }))
	items, err := results(t, ingestion)
	if err != nil || len(items) != 100 || ingestion.Summary().Streams != 3 {
		t.Fatal(len(items), err, ingestion.Summary())
	}
	if len(pauses) != 2 || status.Convert(pauses[0]).Message() != "the connection broke" {
		t.Error("each pause is told with its cause", pauses)
	}
	for at, id := range sent[0] {
		if at%3 == 2 && (slices.Contains(sent[1], id) || slices.Contains(sent[2], id)) {
			t.Errorf("%s was answered and sent again", id)
		}
	}
}

func TestAStreamThatJustEndsIsOpenedAgain(t *testing.T) {
	client, _ := embedScripted(t, func(stream embedding) error {
		if stream.number > 1 {
			return each(answered)(stream)
		}
		item, err := stream.item()
		if err == nil {
			err = stream.answer(item, space)
		}
		return err
	})
	if items, err := results(t, client.EmbedMany(t.Context(), "m", numbered(3))); err != nil || len(items) != 3 {
		t.Error(items, err)
	}
}

func TestARefusedItemCostsOnlyItself(t *testing.T) {
	client, _ := embedScripted(t, each(func(stream embedding, item *sealanev1.EmbedItem) error {
		if item.GetText() == "poison" {
			return stream.refuse(item)
		}
		return stream.answer(item, space)
	}))
	texts := Texts("a", "poison", strings.Repeat("x", mostTextBytes+1), "d")
	items, err := results(t, client.EmbedMany(t.Context(), "m", texts))
	var blocked, long *ItemError
	if err != nil || !errors.As(items["1"].Err, &blocked) || !errors.As(items["2"].Err, &long) {
		t.Fatal(items, err)
	}
	if blocked.Reason != "PROMPT_BLOCKED" || long.Reason != "CONTEXT_LENGTH_EXCEEDED" || items["3"].Vector == nil {
		t.Error(blocked, long, items["3"])
	}
	vectors, err := client.EmbedMany(t.Context(), "m", texts).Vectors()
	if len(vectors) != 4 || err == nil || !strings.Contains(err.Error(), `item "1"`) || !strings.Contains(err.Error(), `item "2"`) {
		t.Error(len(vectors), err)
	}
}

func TestWhatWillNotPassEndsItAndSaysWhatIsLeft(t *testing.T) {
	refusal, _ := status.New(codes.FailedPrecondition, "no").WithDetails(
		&errdetails.ErrorInfo{Reason: reasonNoRegion, Domain: ErrorDomain})
	for name, row := range map[string]struct {
		end     error
		options []EmbedManyOption
	}{
		"a refusal":                 {refusal.Err(), nil},
		"a service that stays away": {status.Error(codes.Unavailable, "away"), []EmbedManyOption{WithReconnectFor(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := embedScripted(t, func(stream embedding) error {
				item, err := stream.item()
				if err == nil {
					err = stream.answer(item, space)
				}
				if err == nil {
					_, err = stream.item()
				}
				if err != nil {
					return err
				}
				return row.end
			})
			ingestion := client.EmbedMany(t.Context(), "m", numbered(3), row.options...)
			items, err := results(t, ingestion)
			if status.Code(err) != status.Code(row.end) || len(items) != 1 {
				t.Error(items, err)
			}
			left := ingestion.Unanswered()
			if len(left) != 2 || left[0].ID != "1" || left[1].Text != "text 2" {
				t.Error(left)
			}
		})
	}
}

func TestTwoEmbeddingSpacesNeverMeet(t *testing.T) {
	client, _ := embedScripted(t, func(stream embedding) error {
		item, err := stream.item()
		if err != nil {
			return err
		}
		if err := stream.answer(item, fmt.Sprintf("m/%d/2", stream.number)); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "restarts")
	})
	if _, err := results(t, client.EmbedMany(t.Context(), "m", numbered(2))); ReasonOf(err) != "EMBEDDING_SPACE_CHANGED" {
		t.Error(err)
	}
}

func TestTheInputIsTakenAsThereIsRoomForIt(t *testing.T) {
	client, _ := embedScripted(t, func(stream embedding) error {
		for range mostUnanswered {
			if _, err := stream.item(); err != nil {
				return err
			}
		}
		return status.Error(codes.InvalidArgument, "enough")
	})
	taken := 0
	endless := func(yield func(Item) bool) {
		for more := true; more; {
			taken++
			more = yield(Item{ID: fmt.Sprint(taken), Text: "text"})
		}
	}
	_, err := results(t, client.EmbedMany(t.Context(), "m", endless))
	if !IsInvalidRequest(err) || taken != mostUnanswered {
		t.Error(taken, err)
	}
}

func TestInputThatCannotBeUsed(t *testing.T) {
	client, _ := embedScripted(t, each(func(embedding, *sealanev1.EmbedItem) error { return nil }))
	for name, items := range map[string][]Item{
		"the id of an earlier item":         {{"a", "x"}, {"a", "y"}},
		"its id must have 1 to 128 bytes":   {{"", "x"}},
		"item 1: is not UTF-8":              {{"a", "x"}, {"b", "\xff"}},
		"item 1: its id must have 1 to 128": {{"a", "x"}, {strings.Repeat("b", 129), "y"}},
	} {
		_, err := results(t, client.EmbedMany(t.Context(), "m", slices.Values(items)))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServiceThatAnswersWhatNobodyAsked(t *testing.T) {
	client, _ := embedScripted(t, func(stream embedding) error {
		return stream.answer(&sealanev1.EmbedItem{Id: "x"}, space)
	})
	_, err := results(t, client.EmbedMany(t.Context(), "m", numbered(1)))
	if status.Code(err) != codes.Internal || ReasonOf(err) != "PROTOCOL_VIOLATED" {
		t.Error(err)
	}
}

func TestAnIngestionEndsWithItsContextAndWithItsLoop(t *testing.T) {
	ended := make(chan struct{}, 2)
	client, _ := embedScripted(t, func(stream embedding) error {
		item, err := stream.item()
		if err == nil {
			err = stream.answer(item, space)
		}
		<-stream.Context().Done()
		ended <- struct{}{}
		return err
	})
	for range client.EmbedMany(t.Context(), "m", numbered(2)).Results() {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	var last error
	for _, err := range client.EmbedMany(ctx, "m", numbered(2)).Results() {
		cancel()
		last = err
	}
	if status.Code(last) != codes.Canceled {
		t.Error(last)
	}
	for range 2 {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("the call goes on")
		}
	}
	cancel()
}
