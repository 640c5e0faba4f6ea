package sealane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

func TestTheServiceConfigIsThePublishedOne(t *testing.T) {
	published, err := os.ReadFile(filepath.Join("..", "service_config.json"))
	if err != nil || string(published) != ServiceConfig {
		t.Error("run scripts/generate-clients.sh", err)
	}
	timeouts, rest, err := splitServiceConfig(ServiceConfig)
	if err != nil || strings.Contains(rest, `"timeout"`) {
		t.Error("gRPC would let no call exceed it", err)
	}
	if len(timeouts) != 3 || timeouts["/sealane.v1.InferenceService/Complete"] != 5*time.Minute {
		t.Error(timeouts)
	}
}

func TestAddresses(t *testing.T) {
	t.Setenv("SEALANE_ADDR", "from-env:1")
	for _, row := range []struct {
		address, target string
		encrypted, fine bool
	}{
		{"", "from-env:1", false, true},
		{"sealane:50051", "sealane:50051", false, true},
		{"dns:///sealane:50051", "dns:///sealane:50051", false, true},
		{"http://localhost:50051/", "localhost:50051", false, true},
		{"https://sealane.internal", "sealane.internal:443", true, true},
		{"https://[::1]:8443", "[::1]:8443", true, true},
		{"https://sealane.internal/v1", "", false, false},
	} {
		target, encrypted, err := parseAddress(row.address)
		if target != row.target || encrypted != row.encrypted || (err == nil) != row.fine {
			t.Errorf("%q: %q %v %v", row.address, target, encrypted, err)
		}
	}
}

func TestATokenNeverLeavesTheMachineInPlainTextUnasked(t *testing.T) {
	for _, row := range []struct {
		address string
		options []Option
		fine    bool
	}{
		{"localhost:1", nil, true},
		{"127.0.0.2:1", nil, true},
		{"[::1]:1", nil, true},
		{"dns:///localhost:1", nil, true},
		{"unix:/tmp/x", nil, true},
		{"sealane:1", nil, false},
		{"http://10.0.0.1:1", nil, false},
		{"dns:///localhost.example:1", nil, false},
		{"sealane:1", []Option{WithPlaintextToken()}, true},
		{"https://sealane", nil, true},
	} {
		client, err := New(row.address, append(row.options, WithToken("t"))...)
		if (err == nil) != row.fine {
			t.Errorf("%s: %v", row.address, err)
		}
		if client != nil {
			_ = client.Close()
		}
	}
}

// scripted is a small real server whose answers a test scripts: for what the true service never sends on purpose.
type scripted struct {
	sealanev1.UnimplementedInferenceServiceServer
	events   []*sealanev1.CompleteStreamResponse
	failure  error
	deadline time.Duration
	metadata metadata.MD
	calls    int
}

func (s *scripted) Complete(ctx context.Context, _ *sealanev1.CompleteRequest) (*sealanev1.CompleteResponse, error) {
	s.calls++
	if deadline, set := ctx.Deadline(); set {
		s.deadline = time.Until(deadline)
	}
	s.metadata, _ = metadata.FromIncomingContext(ctx)
	return &sealanev1.CompleteResponse{}, s.failure
}

func (s *scripted) CompleteStream(_ *sealanev1.CompleteStreamRequest,
	stream grpc.ServerStreamingServer[sealanev1.CompleteStreamResponse],
) error {
	if _, set := stream.Context().Deadline(); set {
		return status.Error(codes.Internal, "a stream has a deadline")
	}
	for _, event := range s.events {
		if err := stream.Send(event); err != nil {
			return err
		}
	}
	return s.failure
}

func serve(t *testing.T, service sealanev1.InferenceServiceServer) *Client {
	t.Helper()
	return serveOn(t, listen(t), service)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func serveOn(t *testing.T, listener net.Listener, service sealanev1.InferenceServiceServer, options ...Option) *Client {
	t.Helper()
	server := grpc.NewServer()
	sealanev1.RegisterInferenceServiceServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	client, err := New(listener.Addr().String(), append(options, WithToken("s3cret"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func started(region string) *sealanev1.CompleteStreamResponse {
	start := &sealanev1.StreamStart{ServedBy: &sealanev1.ServedBy{Region: region}}
	return &sealanev1.CompleteStreamResponse{Event: &sealanev1.CompleteStreamResponse_Start{Start: start}}
}

func said(text string) *sealanev1.CompleteStreamResponse {
	delta := &sealanev1.Delta{Text: text}
	return &sealanev1.CompleteStreamResponse{Event: &sealanev1.CompleteStreamResponse_Delta{Delta: delta}}
}

func restarted() *sealanev1.CompleteStreamResponse {
	event := &sealanev1.Restarted{FailedRegion: "swedencentral"}
	return &sealanev1.CompleteStreamResponse{Event: &sealanev1.CompleteStreamResponse_Restarted{Restarted: event}}
}

func ended() *sealanev1.CompleteStreamResponse {
	return &sealanev1.CompleteStreamResponse{Event: &sealanev1.CompleteStreamResponse_End{End: &sealanev1.StreamEnd{}}}
}

func TestACutStreamNeverPassesForAWholeOne(t *testing.T) {
	own, _ := status.New(codes.Unavailable, "cut").WithDetails(&errdetails.ErrorInfo{
		Reason: "STREAM_INTERRUPTED", Domain: ErrorDomain, Metadata: map[string]string{"servedRegion": "swedencentral"},
	})
	begun := []*sealanev1.CompleteStreamResponse{started("swedencentral"), said("Hel")}
	for name, service := range map[string]*scripted{
		"quietly":                {events: begun},
		"by status":              {events: begun, failure: own.Err()},
		"by a broken connection": {events: begun, failure: status.Error(codes.Unavailable, "connection reset")},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := serve(t, service).Stream(t.Context(), &sealanev1.CompleteStreamRequest{})
			if err != nil {
				t.Fatal(err)
			}
			var last error
			for _, err := range stream.TextChunks() {
				last = err
			}
			if !IsStreamInterrupted(last) || !IsUnavailable(last) || RegionOf(last) != "swedencentral" {
				t.Error(last)
			}
			if stream.Text() != "Hel" || stream.End() != nil {
				t.Error(stream.Text())
			}
		})
	}
}

func TestARestartedAnswerReplacesTheFirst(t *testing.T) {
	events := []*sealanev1.CompleteStreamResponse{
		started("swedencentral"), said("Hel"), restarted(), started("norwayeast"), said("Hello"), ended(),
	}
	client := serve(t, &scripted{events: events})
	stream, err := client.Stream(t.Context(), &sealanev1.CompleteStreamRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	if stream.Text() != "Hello" || stream.End() == nil {
		t.Error(stream.Text(), err)
	}
	stream, err = client.Stream(t.Context(), &sealanev1.CompleteStreamRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range stream.TextChunks() {
		last = err
	}
	if !IsStreamInterrupted(last) {
		t.Error("text that was handed out was replaced silently")
	}
}

func TestUnaryCallsHaveADeadlineThatACallMayExceed(t *testing.T) {
	service := &scripted{}
	client := serve(t, service)
	if _, err := client.Inference.Complete(t.Context(), &sealanev1.CompleteRequest{}); err != nil {
		t.Fatal(err)
	}
	if service.deadline < 200*time.Second || service.deadline > 300*time.Second {
		t.Errorf("default %s", service.deadline)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	if _, err := client.Inference.Complete(ctx, &sealanev1.CompleteRequest{}); err != nil {
		t.Fatal(err)
	}
	if service.deadline < 10*time.Minute {
		t.Errorf("%s of 15 minutes", service.deadline)
	}
}

func TestACallSaysWhoAsksAndWhatSizeItTakes(t *testing.T) {
	service := &scripted{}
	if _, err := serve(t, service).Inference.Complete(t.Context(), &sealanev1.CompleteRequest{}); err != nil {
		t.Fatal(err)
	}
	for key, expected := range map[string]string{
		"authorization":            "Bearer s3cret",
		"x-sealane-max-recv-bytes": "33554432",
		"user-agent":               "sealane-go/" + Version + " grpc-go/" + grpc.Version,
	} {
		if !slices.Equal(service.metadata.Get(key), []string{expected}) {
			t.Errorf("%s: %v", key, service.metadata.Get(key))
		}
	}
}

func TestErrorDetails(t *testing.T) {
	detailed, err := status.New(codes.InvalidArgument, "bad").WithDetails(
		&errdetails.ErrorInfo{Reason: "X", Domain: ErrorDomain, Metadata: map[string]string{"lastRegion": "norwayeast"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "a", Description: "b"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := fmt.Errorf("while asking: %w", detailed.Err())
	delay, given := RetryDelayOf(wrapped)
	if ReasonOf(wrapped) != "X" || RegionOf(wrapped) != "norwayeast" || !given || delay != 1500*time.Millisecond {
		t.Error(ReasonOf(wrapped), RegionOf(wrapped), delay)
	}
	if !slices.Equal(ViolationsOf(wrapped), []Violation{{"a", "b"}}) || !IsInvalidRequest(wrapped) {
		t.Error(ViolationsOf(wrapped))
	}
	foreign, _ := status.New(codes.Unavailable, "").WithDetails(&errdetails.ErrorInfo{Reason: "X", Domain: "proxy.example"})
	for _, err := range []error{nil, errors.New("other"), foreign.Err()} {
		if _, given := RetryDelayOf(err); given || ReasonOf(err) != "" || RegionOf(err) != "" || ViolationsOf(err) != nil {
			t.Errorf("%v has details", err)
		}
	}
	if !IsTooLarge(status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")) {
		t.Error("gRPC's own limit is no quota")
	}
	if IsThrottled(status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")) {
		t.Error("gRPC's own limit is no quota")
	}
}

func TestAWorkflowLeavesTheCallersRoutingAlone(t *testing.T) {
	workflow, mine := NewWorkflow("run-7"), &sealanev1.RoutingOptions{DataBoundary: "eu"}
	workflow.Remember(&sealanev1.ServedBy{PinnedRegion: "swedencentral"})
	workflow.Remember(&sealanev1.ServedBy{})
	workflow.Remember(nil)
	routing := workflow.Routing(mine)
	if routing.GetWorkflowId() != "run-7" || routing.GetPinnedRegion() != "swedencentral" || routing.GetDataBoundary() != "eu" {
		t.Error(routing)
	}
	if mine.GetWorkflowId() != "" {
		t.Error("the argument was changed")
	}
	if NewWorkflow("").ID() == NewWorkflow("").ID() {
		t.Error("random ids are equal")
	}
}
