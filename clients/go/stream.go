package sealane

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

// Stream is a streamed answer. It is not safe for concurrent use.
type Stream struct {
	events grpc.ServerStreamingClient[sealanev1.CompleteStreamResponse]
	cancel context.CancelFunc
	text   strings.Builder
	start  *sealanev1.StreamStart
	end    *sealanev1.StreamEnd
}

// Stream asks for one chat completion as it is generated. Close the stream, or read it to its end.
func (c *Client) Stream(ctx context.Context, request *sealanev1.CompleteStreamRequest,
	options ...grpc.CallOption,
) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	events, err := c.Inference.CompleteStream(ctx, request, options...)
	if err != nil {
		cancel()
		return nil, err
	}
	return &Stream{events: events, cancel: cancel}, nil
}

// Recv is the next event. It returns io.EOF only after the end event: an answer that is cut, by an error or by a
// stream that just stops, is an error for which IsStreamInterrupted holds.
func (s *Stream) Recv() (*sealanev1.CompleteStreamResponse, error) {
	event, err := s.events.Recv()
	if err != nil {
		s.cancel()
		return nil, s.failure(err)
	}
	switch {
	case event.GetStart() != nil:
		s.start = event.GetStart()
	case event.GetDelta() != nil && event.GetDelta().GetChoiceIndex() == 0:
		s.text.WriteString(event.GetDelta().GetText())
	case event.GetRestarted() != nil:
		s.start = nil
		s.text.Reset()
	case event.GetEnd() != nil:
		s.end = event.GetEnd()
	}
	return event, nil
}

// TextChunks is the first choice's text, piece by piece. It closes the stream when the loop is left. Text that was
// handed out cannot be taken back: with ON_INTERRUPTION_RESTART use Recv instead.
func (s *Stream) TextChunks() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		defer s.Close()
		yielded := false
		for {
			event, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && yielded && event.GetRestarted() != nil {
				err = interrupted("the answer starts again, but a part of it was already handed out; "+
					"use Recv to follow it", event.GetRestarted().GetFailedRegion())
			}
			if err != nil {
				yield("", err)
				return
			}
			delta := event.GetDelta()
			if delta.GetText() == "" || delta.GetChoiceIndex() != 0 {
				continue
			}
			yielded = true
			if !yield(delta.GetText(), nil) {
				return
			}
		}
	}
}

// Text is the first choice's text so far.
func (s *Stream) Text() string { return s.text.String() }

// End is the end event, nil before it arrived: only then is the answer whole.
func (s *Stream) End() *sealanev1.StreamEnd { return s.end }

// ServedBy says where the call went: complete once the stream has ended, nil before it has begun.
func (s *Stream) ServedBy() *sealanev1.ServedBy {
	if s.end != nil {
		return s.end.GetServedBy()
	}
	return s.start.GetServedBy()
}

// Close ends the call; the service stops the model's work too. No effect on a stream that has ended.
func (s *Stream) Close() { s.cancel() }

func (s *Stream) failure(err error) error {
	if errors.Is(err, io.EOF) {
		if s.end != nil {
			return io.EOF
		}
		return interrupted("the stream closed before its end event, so the answer is not whole", s.region())
	}
	if s.start == nil || ReasonOf(err) != "" {
		return err
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Unknown: // how gRPC reports a connection that broke under a call
		return interrupted(status.Convert(err).Message(), s.region())
	}
	return err
}

func (s *Stream) region() string { return s.start.GetServedBy().GetRegion() }
