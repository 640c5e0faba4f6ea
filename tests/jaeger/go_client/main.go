// A caller in Go that traces itself: OpenTelemetry's own gRPC instrumentation, nothing of Sealane's.
//
// Calls until its standard input ends; prints a line of JSON for each call. Address: SEALANE_ADDR; where spans go:
// OTEL_EXPORTER_OTLP_ENDPOINT.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"

	sealane "github.com/sealane/sealane/clients/go"
	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

type told struct {
	Trace      string `json:"trace"`
	Region     string `json:"region,omitempty"`
	FailedOver bool   `json:"failed_over"`
	Error      string `json:"error,omitempty"`
}

func main() {
	log.SetFlags(0)
	ctx := context.Background()
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		log.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})

	client, err := sealane.New("", sealane.WithDialOptions(grpc.WithStatsHandler(otelgrpc.NewClientHandler())))
	if err != nil {
		log.Fatal(err)
	}
	var stop atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop.Store(true)
	}()
	lines := json.NewEncoder(os.Stdout)
	for !stop.Load() {
		if err := lines.Encode(ask(ctx, client)); err != nil {
			log.Fatal(err)
		}
	}
	_ = client.Close()
	if err := provider.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}

func ask(ctx context.Context, client *sealane.Client) told {
	ctx, span := otel.Tracer("acceptance").Start(ctx, "a question")
	defer span.End()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	call := told{Trace: span.SpanContext().TraceID().String()}
	reply, err := client.Inference.Complete(ctx, &sealanev1.CompleteRequest{
		Model:    "gpt-4o",
		Messages: []*sealanev1.Message{sealane.User("Why is the sky blue?")},
	})
	if err != nil {
		call.Error = err.Error()
		return call
	}
	call.Region, call.FailedOver = reply.GetServedBy().GetRegion(), reply.GetServedBy().GetFailedOver()
	return call
}
