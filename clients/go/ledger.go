package sealane

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

const (
	reasonSpaceChanged = "EMBEDDING_SPACE_CHANGED"
	reasonTooLong      = "CONTEXT_LENGTH_EXCEEDED"

	// Items without an answer at one time, as many as the service takes, and bytes of their texts.
	mostUnanswered      = 4096
	mostUnansweredBytes = 8 << 20
	// No longer text has 8192 tokens or fewer; much longer ones do not fit into a message.
	mostTextBytes = 1 << 20
	mostIDBytes   = 128

	// Between two attempts to open a stream: doubles from the one to the other.
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// unanswered is an item that was taken from the input and has no answer.
type unanswered struct {
	Item
	index int
}

// ledger knows who has no answer yet, and what has come to those who have. It does no input or output.
type ledger struct {
	summary  IngestionSummary
	waiting  map[string]unanswered
	bytes    int
	next     int
	workflow *Workflow
	// whole says that the stream in use has told its summary.
	whole bool
}

func (l *ledger) hasRoom() bool {
	return len(l.waiting) < mostUnanswered && l.bytes < mostUnansweredBytes
}

// inOrder is what has no answer, in the input's order.
func (l *ledger) inOrder() []unanswered {
	return slices.SortedFunc(maps.Values(l.waiting), func(a, b unanswered) int { return cmp.Compare(a.index, b.index) })
}

// take notes an item of the input. It gives its answer if it cannot be sent, and an error if it is none.
func (l *ledger) take(item Item) (*EmbeddedItem, error) {
	index := l.next
	if _, twice := l.waiting[item.ID]; twice {
		return nil, fmt.Errorf("sealane: item %d: %q is the id of an earlier item that is not answered yet", index, item.ID)
	}
	if len(item.ID) == 0 || len(item.ID) > mostIDBytes {
		return nil, fmt.Errorf("sealane: item %d: its id must have 1 to %d bytes", index, mostIDBytes)
	}
	if !utf8.ValidString(item.ID) || !utf8.ValidString(item.Text) {
		return nil, fmt.Errorf("sealane: item %d: is not UTF-8", index)
	}
	l.next++
	if len(item.Text) > mostTextBytes {
		l.summary.Failed++
		err := &ItemError{ID: item.ID, Reason: reasonTooLong, Message: "the text is longer than any model takes"}
		return &EmbeddedItem{ID: item.ID, Index: index, Err: err}, nil
	}
	l.waiting[item.ID] = unanswered{item, index}
	l.bytes += len(item.Text)
	return nil, nil
}

// answer is an item's answer, or nil for an event that is none.
func (l *ledger) answer(response *sealanev1.EmbedStreamResponse) (*EmbeddedItem, error) {
	if summary := response.GetSummary(); summary != nil {
		l.whole = true
		l.summary.TotalTokens += summary.GetUsage().GetTotalTokens()
		if region := summary.GetPinnedRegion(); l.workflow != nil && region != "" {
			l.workflow.Pin(region)
		}
		return nil, nil
	}
	result := response.GetResult()
	if result == nil {
		return nil, nil // a kind that this version does not know
	}
	waiting, known := l.waiting[result.GetId()]
	if !known {
		return nil, misbehaves("answered an item that has no answer to come: %q", result.GetId())
	}
	item := &EmbeddedItem{ID: waiting.ID, Index: waiting.index, Region: result.GetRegion()}
	switch {
	case result.GetError() != nil:
		refused := result.GetError()
		item.Err = &ItemError{
			ID: waiting.ID, Reason: refused.GetReason(), Message: refused.GetMessage(), Region: result.GetRegion(),
		}
		l.summary.Failed++
	case result.GetEmbedding() != nil:
		item.Vector = vectorOf(result.GetEmbedding())
		if err := l.mustBeComparable(result.GetEmbeddingSpace(), len(item.Vector)); err != nil {
			return nil, err
		}
		l.summary.Embedded++
		l.summary.ByRegion[item.Region]++
	default:
		return nil, misbehaves("answered %q with neither vector nor error", waiting.ID)
	}
	delete(l.waiting, waiting.ID)
	l.bytes -= len(waiting.Text)
	return item, nil
}

// mustBeComparable: streams of one ingestion may reach services of different configuration.
func (l *ledger) mustBeComparable(space string, dimensions int) error {
	known := &l.summary
	switch {
	case dimensions == 0:
		return misbehaves("answered with an empty vector")
	case known.Dimensions == 0:
		known.Space, known.Dimensions = space, dimensions
	case known.Space != space || known.Dimensions != dimensions:
		return reasoned(codes.Aborted, reasonSpaceChanged, fmt.Sprintf(
			"the vectors so far are of %s with %d numbers, and the service now gives %s with %d: they must not meet in one "+
				"index; embed everything again", known.Space, known.Dimensions, space, dimensions))
	}
	return nil
}

// patience says how often, and for how long, a broken stream is opened again.
type patience struct {
	reconnectFor time.Duration
	pause        time.Duration
	brokenSince  time.Time
}

func (p *patience) answered() { p.pause, p.brokenSince = firstPause, time.Time{} }

// wait is how long to wait before another attempt; false if there should be none.
func (p *patience) wait(err error, now time.Time) (time.Duration, bool) {
	if p.brokenSince.IsZero() {
		p.brokenSince = now
	}
	if !mayPass(err) || now.Sub(p.brokenSince) >= p.reconnectFor {
		return 0, false
	}
	pause := p.pause
	p.pause = min(2*p.pause, longestPause)
	if advised, given := RetryDelayOf(err); given {
		pause = max(pause, min(advised, p.reconnectFor))
	}
	return pause, true
}

// mayPass says whether another stream may do better.
func mayPass(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true // the deadline is the service's own, a day, unless the context has one
	case codes.ResourceExhausted:
		return !IsTooLarge(err)
	case codes.Internal, codes.Unknown, codes.Aborted:
		return ReasonOf(err) == "" // it is not the service that speaks, but a connection that broke
	}
	return false
}

func misbehaves(format string, values ...any) error {
	return reasoned(codes.Internal, "PROTOCOL_VIOLATED", "the service "+fmt.Sprintf(format, values...))
}

func reasoned(code codes.Code, reason, message string) error {
	failure := status.New(code, message)
	if detailed, err := failure.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: ErrorDomain}); err == nil {
		failure = detailed
	}
	return failure.Err()
}
