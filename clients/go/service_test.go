package sealane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	sealane "github.com/sealane/sealane/clients/go"
	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

func ask(model string) *sealanev1.CompleteRequest {
	return &sealanev1.CompleteRequest{Model: model, Messages: []*sealanev1.Message{sealane.User("hi")}}
}

func askStream(model string) *sealanev1.CompleteStreamRequest {
	return &sealanev1.CompleteStreamRequest{Model: model, Messages: []*sealanev1.Message{sealane.User("hi")}}
}

// within is a context that only a hung test runs into.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func complete(ctx context.Context, client *sealane.Client) (*sealanev1.ServedBy, error) {
	reply, err := client.Inference.Complete(ctx, ask("gpt-4o"))
	if err == nil && sealane.TextOf(reply) == "" {
		err = errors.New("an answer without text")
	}
	return reply.GetServedBy(), err
}

func completeStream(ctx context.Context, client *sealane.Client) (*sealanev1.ServedBy, error) {
	stream, err := client.Stream(ctx, askStream("gpt-4o"))
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for piece, err := range stream.TextChunks() {
		if err != nil {
			return nil, err
		}
		text.WriteString(piece)
	}
	if text.Len() == 0 || text.String() != stream.Text() || stream.End() == nil {
		return nil, fmt.Errorf("%q is not the whole of %q", text.String(), stream.Text())
	}
	return stream.ServedBy(), nil
}

var ways = map[string]func(context.Context, *sealane.Client) (*sealanev1.ServedBy, error){
	"unary":  complete,
	"stream": completeStream,
}

func TestTheCallersOwnTraceReachesAzure(t *testing.T) {
	service := realService(t)
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	ctx := metadata.AppendToOutgoingContext(within(t), "traceparent", "00-"+trace+"-"+span+"-01")
	if _, err := complete(ctx, service.client(t)); err != nil {
		t.Fatal(err)
	}
	received := slices.DeleteFunc(service.primary.state(t).Traceparents, func(parent string) bool {
		return !strings.Contains(parent, trace)
	})
	if len(received) != 1 || strings.Contains(received[0], span) {
		t.Errorf("the same trace once, below a span of the service, not %q", received)
	}
}

func TestAnswers(t *testing.T) {
	client := realService(t).client(t)
	for name, way := range ways {
		servedBy, err := way(within(t), client)
		if region := servedBy.GetRegion(); err != nil || region != primaryName && region != standbyName {
			t.Errorf("%s: served by %q, %v", name, region, err)
		}
	}
}

func TestEmbedAsFloatsAndAsBytes(t *testing.T) {
	client := realService(t).client(t)
	request := &sealanev1.EmbedRequest{Model: "text-embedding-3-large", Inputs: []string{"one", "two"}}
	floats, err := client.Inference.Embed(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	request.Encoding = sealanev1.VectorEncoding_VECTOR_ENCODING_FLOAT32_LE_BYTES
	packed, err := client.Inference.Embed(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	one, other := sealane.VectorsOf(floats), sealane.VectorsOf(packed)
	if len(one) != 2 || len(one[1]) != 3072 || len(packed.GetEmbeddings()[0].GetPackedValues()) == 0 {
		t.Fatalf("%d vectors of %d", len(one), len(one[1]))
	}
	if !slices.EqualFunc(one, other, slices.Equal[[]float32]) {
		t.Error("the encodings differ")
	}
}

func TestAReplyBeyondGRPCsOwnLimitArrives(t *testing.T) {
	client := realService(t).client(t)
	inputs := slices.Repeat([]string{"a text"}, 400)
	reply, err := client.Inference.Embed(within(t), &sealanev1.EmbedRequest{Model: "text-embedding-3-large", Inputs: inputs})
	if err != nil || len(reply.GetEmbeddings()) != 400 {
		t.Fatalf("%d vectors, %v", len(reply.GetEmbeddings()), err)
	}
}

func TestStatusAndWatch(t *testing.T) {
	client := realService(t).client(t)
	seen, err := client.Regions.RegionStatus(within(t), &sealanev1.RegionStatusRequest{})
	if err != nil || len(seen.GetRegions()) != 2 {
		t.Fatal(seen, err)
	}
	ctx, cancel := context.WithCancel(within(t))
	watch, err := client.Regions.WatchRegionStatus(ctx, &sealanev1.WatchRegionStatusRequest{
		MaxInterval: durationpb.New(100 * time.Millisecond),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if event, err := watch.Recv(); err != nil || len(event.GetStatus().GetRegions()) != 2 {
			t.Fatal(event, err)
		}
	}
	cancel()
	for err = nil; err == nil; _, err = watch.Recv() {
	}
	if status.Code(err) != codes.Canceled {
		t.Error(err)
	}
}

func TestErrorsSayWhatToDoNext(t *testing.T) {
	running := realService(t)
	client := running.client(t)
	running.primary.fault(t, "throttle", "retry_after_seconds", 30, "deployment", "gpt-4.1-mini")
	running.standby.fault(t, "throttle", "retry_after_seconds", 30, "deployment", "gpt-4.1-mini")

	nan, elsewhere := ask("gpt-4o"), ask("gpt-4o")
	temperature := float32(math.NaN())
	nan.Temperature = &temperature
	elsewhere.Routing = &sealanev1.RoutingOptions{DataBoundary: "elsewhere"}
	for _, row := range []struct {
		name    string
		request *sealanev1.CompleteRequest
		holds   func(error) bool
		reason  string
		field   string
	}{
		{"no messages", &sealanev1.CompleteRequest{Model: "gpt-4o"}, sealane.IsInvalidRequest, "INVALID_REQUEST", "messages"},
		{"NaN", nan, sealane.IsInvalidRequest, "INVALID_REQUEST", "temperature"},
		{"unknown model", ask("gpt-unknown"), sealane.IsNotFound, "MODEL_NOT_CONFIGURED", ""},
		{"no region left", elsewhere, sealane.IsNoEligibleRegion, "NO_ELIGIBLE_REGION", ""},
		{"throttled", ask("gpt-4.1-mini"), sealane.IsThrottled, "ALL_REGIONS_RATE_LIMITED", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := client.Inference.Complete(within(t), row.request)
			if !row.holds(err) || sealane.ReasonOf(err) != row.reason {
				t.Errorf("%s: %v", sealane.ReasonOf(err), err)
			}
			var fields []string
			for _, violation := range sealane.ViolationsOf(err) {
				fields = append(fields, violation.Field)
			}
			if row.field != "" && !slices.Contains(fields, row.field) {
				t.Errorf("%v does not name %s", fields, row.field)
			}
			if delay, given := sealane.RetryDelayOf(err); row.name == "throttled" && (!given || delay > 30*time.Second) {
				t.Errorf("retry delay %s", delay)
			}
		})
	}
}

func TestACallerWhoIsNotKnown(t *testing.T) {
	t.Setenv("SEALANE_TOKEN", "")
	running := realService(t)
	stranger, err := sealane.New(running.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	if _, err := stranger.Inference.Complete(within(t), ask("gpt-4o")); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	answer, err := grpc_health_v1.NewHealthClient(stranger.Connection()).Check(within(t), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Error("health needs no token:", answer, err)
	}
}

func TestAWorkflowIsPinned(t *testing.T) {
	client := realService(t).client(t)
	workflow := sealane.NewWorkflow("go-client-tests")
	request := ask("gpt-4o")
	request.Routing = workflow.Routing(nil)
	reply, err := client.Inference.Complete(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	workflow.Remember(reply.GetServedBy())
	if pin := workflow.PinnedRegion(); pin == "" || pin != reply.GetServedBy().GetRegion() {
		t.Errorf("pinned to %q, served by %q", pin, reply.GetServedBy().GetRegion())
	}
}

func TestADeadlineInMidStream(t *testing.T) {
	running := realService(t)
	running.primary.fault(t, "stream_stall", "at", 3)
	running.standby.fault(t, "stream_stall", "at", 3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	stream, err := running.client(t).Stream(ctx, askStream("gpt-4o"))
	for err == nil {
		_, err = stream.Recv()
	}
	if !sealane.IsDeadlineExceeded(err) || stream.Text() == "" || stream.End() != nil {
		t.Errorf("after %q: %v", stream.Text(), err)
	}
}

func TestCancellingReachesAzure(t *testing.T) {
	running := realService(t)
	running.primary.fault(t, "latency", "per_token_ms", 200)
	running.standby.fault(t, "latency", "per_token_ms", 200)
	stream, err := running.client(t).Stream(within(t), askStream("gpt-4o"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	serving := map[string]*region{primaryName: running.primary, standbyName: running.standby}[stream.ServedBy().GetRegion()]
	before := serving.state(t).DroppedByClient
	stream.Close()
	serving.waitUntil(t, "the upstream call is dropped", func(s regionState) bool { return s.DroppedByClient > before })
}

func TestAPrimaryThatIsDeadBeforeTheCall(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			running := realService(t)
			running.primary.fault(t, "down")
			if servedBy, err := way(within(t), running.client(t)); err != nil || servedBy.GetRegion() != standbyName {
				t.Errorf("served by %q, %v", servedBy.GetRegion(), err)
			}
		})
	}
}

func TestAPrimaryThatDiesWhileTheCallWaits(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			running := realService(t)
			running.primary.fault(t, "latency", "first_byte_ms", 30_000)
			before := running.primary.state(t).Requests["chat"]
			client, ctx := running.client(t), within(t)
			type answer struct {
				servedBy *sealanev1.ServedBy
				err      error
			}
			answered := make(chan answer, 1)
			go func() {
				servedBy, err := way(ctx, client)
				answered <- answer{servedBy, err}
			}()
			running.primary.waitUntil(t, "a call waits", func(s regionState) bool { return s.Requests["chat"] > before })
			running.primary.fault(t, "down")
			if got := <-answered; got.err != nil || got.servedBy.GetRegion() != standbyName {
				t.Errorf("served by %q, %v", got.servedBy.GetRegion(), got.err)
			}
		})
	}
}

func TestAPrimaryThatDiesInMidAnswer(t *testing.T) {
	for _, fault := range []string{"stream_reset", "stream_end", "stream_error"} {
		t.Run(fault, func(t *testing.T) {
			running := realService(t)
			client := running.client(t)
			running.primary.fault(t, fault, "at", 5)
			if servedBy, err := complete(within(t), client); err != nil || servedBy.GetRegion() != standbyName {
				t.Errorf("unary: served by %q, %v", servedBy.GetRegion(), err)
			}
			stream, err := client.Stream(within(t), askStream("gpt-4o"))
			for err == nil {
				_, err = stream.Recv()
			}
			if errors.Is(err, io.EOF) || !sealane.IsStreamInterrupted(err) || sealane.RegionOf(err) != primaryName {
				t.Errorf("stream: %v", err)
			}
		})
	}
}

func TestBothRegionsDead(t *testing.T) {
	running := realService(t)
	running.primary.fault(t, "status", "status", 500)
	running.standby.fault(t, "status", "status", 500)
	_, err := running.client(t).Inference.Complete(within(t), ask("gpt-4o"))
	if !sealane.IsUnavailable(err) || sealane.ReasonOf(err) != "ALL_REGIONS_UNAVAILABLE" {
		t.Error(err)
	}
}

func TestExamples(t *testing.T) {
	running := realService(t)
	for _, name := range []string{"complete", "stream", "embed"} {
		command := exec.CommandContext(within(t), "go", "run", "./examples/"+name)
		command.Env = append(os.Environ(), "SEALANE_ADDR="+running.address, "SEALANE_TOKEN="+token)
		if output, err := command.CombinedOutput(); err != nil || !strings.Contains(string(output), "central") {
			t.Errorf("%s: %v\n%s", name, err, output)
		}
	}
}
