package sealane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

// Item is one text to embed.
type Item struct {
	// ID names its answer: 1 to 128 bytes, unique among the items not yet answered.
	ID string
	// Text is not empty and has at most 8192 tokens.
	Text string
}

// Texts is items whose ids are their indices: "0", "1", ...
func Texts(texts ...string) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for i, text := range texts {
			if !yield(Item{ID: strconv.Itoa(i), Text: text}) {
				return
			}
		}
	}
}

// EmbeddedItem is the answer to one item.
type EmbeddedItem struct {
	// ID is the item's.
	ID string
	// Index is the item's 0-based place in the input.
	Index int
	// Vector is nil if Err is not.
	Vector []float32
	// Region is the Azure region that served or refused it; empty if none was asked.
	Region string
	// Err says why this item, and only this item, has no vector. It is an *ItemError.
	Err error
}

// ItemError says why one item was refused, such as a text that is too long or that the content filter blocks.
type ItemError struct {
	// ID is the item's.
	ID string
	// Reason is a stable word, such as CONTEXT_LENGTH_EXCEEDED.
	Reason string
	// Message is for people.
	Message string
	// Region is the Azure region that refused it; empty if none was asked.
	Region string
}

func (e *ItemError) Error() string {
	return fmt.Sprintf("sealane: item %q: %s: %s", e.ID, e.Reason, e.Message)
}

// IngestionSummary is what an ingestion has come to, so far or as a whole.
type IngestionSummary struct {
	// Embedded and Failed count items with a vector and items with an error.
	Embedded, Failed int
	// ByRegion counts vectors by the Azure region that made them.
	ByRegion map[string]int
	// Space names the embedding space of all vectors; store it with the index. Empty before the first.
	Space string
	// Dimensions is the length of each vector; 0 before the first.
	Dimensions int
	// TotalTokens is as Azure counted, told at the end. Of a stream that broke it is not known.
	TotalTokens int64
	// Streams counts those opened; more than 1 if one broke.
	Streams int
}

// EmbedManyOption changes how EmbedMany works.
type EmbedManyOption func(*Ingestion)

// WithDimensions shortens the vectors to this length.
func WithDimensions(dimensions int32) EmbedManyOption {
	return func(i *Ingestion) { i.open.Dimensions = &dimensions }
}

// WithRouting says where the work may go. Without a priority there it yields to interactive calls.
func WithRouting(routing *sealanev1.RoutingOptions) EmbedManyOption {
	return func(i *Ingestion) { i.open.Routing = routing }
}

// WithWorkflow keeps the work in one region.
func WithWorkflow(workflow *Workflow) EmbedManyOption {
	return func(i *Ingestion) { i.ledger.workflow = workflow }
}

// WithProgress calls a function after each answer, with what it has come to so far.
func WithProgress(progress func(IngestionSummary)) EmbedManyOption {
	return func(i *Ingestion) { i.progress = progress }
}

// WithReconnectFor goes on trying for so long while there is no connection; default 5 minutes. An outage of every
// region is waited out by the service.
func WithReconnectFor(reconnectFor time.Duration) EmbedManyOption {
	return func(i *Ingestion) { i.patience.reconnectFor = reconnectFor }
}

// WithReconnecting calls a function whenever a stream broke and is to be opened again after a pause: something to log,
// since Results is silent meanwhile.
func WithReconnecting(reconnecting func(err error, pause time.Duration)) EmbedManyOption {
	return func(i *Ingestion) { i.reconnecting = reconnecting }
}

// WithCallOptions adds gRPC's own options to each stream.
func WithCallOptions(options ...grpc.CallOption) EmbedManyOption {
	return func(i *Ingestion) { i.call = append(i.call, options...) }
}

// Ingestion embeds any number of items. It is not safe for concurrent use.
type Ingestion struct {
	client       *Client
	ctx          context.Context
	items        iter.Seq[Item]
	open         *sealanev1.EmbedStreamOpen
	routing      *sealanev1.RoutingOptions
	call         []grpc.CallOption
	progress     func(IngestionSummary)
	reconnecting func(error, time.Duration)
	ledger       ledger
	patience     patience
}

// EmbedMany prepares vectors for any number of items; Results does the work. The context ends it.
func (c *Client) EmbedMany(ctx context.Context, model string, items iter.Seq[Item],
	options ...EmbedManyOption,
) *Ingestion {
	ingestion := &Ingestion{
		client: c,
		ctx:    ctx,
		items:  items,
		open: &sealanev1.EmbedStreamOpen{
			Model: model, Encoding: sealanev1.VectorEncoding_VECTOR_ENCODING_FLOAT32_LE_BYTES,
		},
		progress:     func(IngestionSummary) {},
		reconnecting: func(error, time.Duration) {},
		ledger:       ledger{waiting: map[string]unanswered{}, summary: IngestionSummary{ByRegion: map[string]int{}}},
		patience:     patience{reconnectFor: 5 * time.Minute, pause: firstPause},
	}
	for _, option := range options {
		option(ingestion)
	}
	ingestion.routing = ingestion.open.GetRouting()
	return ingestion
}

// Summary is what it has come to so far; the whole once Results has ended.
func (i *Ingestion) Summary() IngestionSummary {
	summary := i.ledger.summary
	summary.ByRegion = maps.Clone(summary.ByRegion)
	return summary
}

// Unanswered is the items that were taken from the input and have no answer: what an error leaves to be done.
func (i *Ingestion) Unanswered() []Item {
	items := make([]Item, 0, len(i.ledger.waiting))
	for _, one := range i.ledger.inOrder() {
		items = append(items, one.Item)
	}
	return items
}

// Results is the answers, each exactly once, in any order. Items are taken from the input as there is room for them
// (4096 without an answer). A stream that breaks is opened again, and only what has no answer is sent again. An error
// ends it; what is wrong with one item is in its Err. Range over it once.
func (i *Ingestion) Results() iter.Seq2[EmbeddedItem, error] {
	return func(yield func(EmbeddedItem, error) bool) {
		next, stop := iter.Pull(i.items)
		defer stop()
		work := &ingesting{Ingestion: i, next: next}
		defer func() { work.stream.cancel() }()
		for {
			item, err := work.answer()
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(EmbeddedItem{}, err)
				return
			}
			i.progress(i.Summary())
			if !yield(*item, nil) {
				return
			}
		}
	}
}

// ingesting is an ingestion at work.
type ingesting struct {
	*Ingestion
	// next is nil after the last item.
	next   func() (Item, bool)
	stream *embedStream
}

// answer is the next one; io.EOF if there is none to come.
func (w *ingesting) answer() (*EmbeddedItem, error) {
	for {
		if w.stream == nil {
			if w.next == nil && len(w.ledger.waiting) == 0 {
				return nil, io.EOF
			}
			w.openStream()
		}
		var event embedEvent
		if w.next != nil && w.ledger.hasRoom() {
			select {
			case event = <-w.stream.events:
			default:
				if item, err := w.take(); item != nil || err != nil {
					return item, err
				}
				continue
			}
		} else {
			select {
			case event = <-w.stream.events:
			case <-w.ctx.Done():
				return nil, status.FromContextError(w.ctx.Err()).Err()
			}
		}
		if event.err == nil {
			w.patience.answered()
			if item, err := w.ledger.answer(event.response); item != nil || err != nil {
				return item, err
			}
			continue
		}
		ended := errors.Is(event.err, io.EOF)
		if ended && w.ledger.whole && len(w.ledger.waiting) == 0 && w.next == nil {
			return nil, io.EOF
		}
		if ended {
			event.err = status.Error(codes.Unavailable, "the stream closed before its summary")
		}
		if err := w.broken(event.err); err != nil {
			return nil, err
		}
	}
}

// take takes an item from the input and sends it; it gives its answer if it cannot be sent.
func (w *ingesting) take() (*EmbeddedItem, error) {
	item, more := w.next()
	if !more {
		w.next = nil
		close(w.stream.requests)
		return nil, nil
	}
	answer, err := w.ledger.take(item)
	if answer == nil && err == nil {
		w.stream.requests <- itemRequest(item)
	}
	return answer, err
}

func (w *ingesting) openStream() {
	w.ledger.whole = false
	w.ledger.summary.Streams++
	if w.ledger.workflow != nil {
		w.open.Routing = w.ledger.workflow.Routing(w.routing)
	}
	w.stream = newEmbedStream(w.ctx, w.client, w.call)
	w.stream.requests <- &sealanev1.EmbedStreamRequest{Event: &sealanev1.EmbedStreamRequest_Open{Open: w.open}}
	for _, one := range w.ledger.inOrder() {
		w.stream.requests <- itemRequest(one.Item)
	}
	if w.next == nil {
		close(w.stream.requests)
	}
}

// broken waits before another stream, or returns the error if that would do no better.
func (w *ingesting) broken(err error) error {
	w.stream.cancel()
	w.stream = nil
	if w.next == nil && len(w.ledger.waiting) == 0 {
		return nil
	}
	if w.ctx.Err() != nil {
		return status.FromContextError(w.ctx.Err()).Err()
	}
	pause, again := w.patience.wait(err, time.Now())
	if !again {
		return err
	}
	w.reconnecting(err, pause)
	select {
	case <-time.After(pause):
		return nil
	case <-w.ctx.Done():
		return status.FromContextError(w.ctx.Err()).Err()
	}
}

func itemRequest(item Item) *sealanev1.EmbedStreamRequest {
	message := &sealanev1.EmbedItem{Id: item.ID, Text: item.Text}
	return &sealanev1.EmbedStreamRequest{Event: &sealanev1.EmbedStreamRequest_Item{Item: message}}
}

// embedStream is one stream: one goroutine sends and one receives, so that neither waits for the other. The queues hold
// whatever has no answer, so nobody waits for them.
type embedStream struct {
	requests chan *sealanev1.EmbedStreamRequest
	events   chan embedEvent
	stop     context.CancelFunc
}

// embedEvent is a response, or how the stream ended.
type embedEvent struct {
	response *sealanev1.EmbedStreamResponse
	err      error
}

func newEmbedStream(ctx context.Context, client *Client, options []grpc.CallOption) *embedStream {
	ctx, stop := context.WithCancel(ctx)
	stream := &embedStream{
		requests: make(chan *sealanev1.EmbedStreamRequest, mostUnanswered+1),
		events:   make(chan embedEvent, mostUnanswered+2),
		stop:     stop,
	}
	go stream.receive(ctx, client, options)
	return stream
}

func (s *embedStream) receive(ctx context.Context, client *Client, options []grpc.CallOption) {
	call, err := client.Inference.EmbedStream(ctx, options...)
	if err != nil {
		s.events <- embedEvent{err: err}
		return
	}
	go s.send(ctx, call)
	for err == nil {
		var response *sealanev1.EmbedStreamResponse
		response, err = call.Recv()
		select {
		case s.events <- embedEvent{response, err}:
		case <-ctx.Done():
			return
		}
	}
}

func (s *embedStream) send(ctx context.Context, call sealanev1.InferenceService_EmbedStreamClient) {
	for {
		select {
		case request, more := <-s.requests:
			if !more {
				_ = call.CloseSend()
				return
			}
			if call.Send(request) != nil {
				return // the receiving side is told why
			}
		case <-ctx.Done():
			return
		}
	}
}

// cancel ends it. No effect on one that has ended, or on none.
func (s *embedStream) cancel() {
	if s != nil {
		s.stop()
	}
}

// Vectors collects the vectors of all items in the input's order; call it instead of Results. If items were refused
// the error holds each of their errors, after all others were embedded.
func (i *Ingestion) Vectors() ([][]float32, error) {
	vectors := map[int][]float32{}
	var refused []error
	for item, err := range i.Results() {
		if err != nil {
			return nil, err
		}
		if item.Err != nil {
			refused = append(refused, item.Err)
		}
		vectors[item.Index] = item.Vector
	}
	rows := make([][]float32, 0, len(vectors))
	for _, index := range slices.Sorted(maps.Keys(vectors)) {
		rows = append(rows, vectors[index])
	}
	return rows, errors.Join(refused...)
}
