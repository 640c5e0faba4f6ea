package sealane

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	// Lets the service config's health check turn calls away from a replica that drains.
	_ "google.golang.org/grpc/health"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	sealanev1 "github.com/sealane/sealane/clients/go/sealane/v1"
)

// Version of this module, as the user agent states it.
const Version = "0.1.0"

// DefaultAddress is where New connects if neither its argument nor SEALANE_ADDR says otherwise.
const DefaultAddress = "localhost:50051"

// MaxMessageBytes is the largest message in either direction. gRPC's own default of 4 MiB is 681 vectors of 1536
// numbers.
const MaxMessageBytes = 32 << 20

// ServiceConfig is the service config published with the service: balancing, retries and timeouts of unary calls.
//
//go:embed service_config.json
var ServiceConfig string

// Client is a connection to Sealane. It is safe for concurrent use; make one per process.
//
// Unary calls whose context has no deadline get the service config's (Complete 300 s, Embed 60 s, RegionStatus 5 s).
// Streams get none.
type Client struct {
	Inference sealanev1.InferenceServiceClient
	Regions   sealanev1.RegionServiceClient
	Operator  sealanev1.OperatorServiceClient

	connection *grpc.ClientConn
}

// New makes a client; it connects at the first call. The address is host:port, https://host or any gRPC target;
// empty, it is taken from SEALANE_ADDR, else DefaultAddress. The token is taken from SEALANE_TOKEN unless an option
// gives one.
func New(address string, options ...Option) (*Client, error) {
	settings := settings{keepalive: keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}}
	if token := os.Getenv("SEALANE_TOKEN"); token != "" {
		settings.token = func(context.Context) (string, error) { return token, nil }
	}
	for _, option := range options {
		option(&settings)
	}
	target, encrypted, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	encrypted = encrypted || settings.tls != nil
	if settings.token != nil && !encrypted && !settings.plaintextToken && !isLocal(target) {
		return nil, fmt.Errorf("sealane: a token would travel in plain text to %s; "+
			"use WithTLS, or WithPlaintextToken if the network encrypts it", target)
	}
	timeouts, config, err := splitServiceConfig(ServiceConfig)
	if err != nil {
		return nil, err
	}
	transport := insecure.NewCredentials()
	if encrypted {
		transport = credentials.NewTLS(settings.tls)
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(config),
		// gRPC's own two minutes are longer than a restart of the service takes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
		// A stream without a deadline would wait for ever for a service whose machine has gone.
		grpc.WithKeepaliveParams(settings.keepalive),
		grpc.WithUserAgent("sealane-go/" + Version),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
		grpc.WithChainUnaryInterceptor(defaultTimeout(timeouts), stateLimitUnary),
		grpc.WithChainStreamInterceptor(stateLimitStream),
	}
	if settings.token != nil {
		dial = append(dial, grpc.WithPerRPCCredentials(bearer(settings.token)))
	}
	connection, err := grpc.NewClient(target, append(dial, settings.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("sealane: %w", err)
	}
	return &Client{
		Inference:  sealanev1.NewInferenceServiceClient(connection),
		Regions:    sealanev1.NewRegionServiceClient(connection),
		Operator:   sealanev1.NewOperatorServiceClient(connection),
		connection: connection,
	}, nil
}

// Close closes the connection and cancels what is still in flight.
func (c *Client) Close() error { return c.connection.Close() }

// Connection is the connection itself, for other services of the same address such as health and reflection.
func (c *Client) Connection() *grpc.ClientConn { return c.connection }

func parseAddress(address string) (target string, encrypted bool, err error) {
	if address == "" {
		address = os.Getenv("SEALANE_ADDR")
	}
	if address == "" {
		address = DefaultAddress
	}
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return address, false, nil
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return "", false, fmt.Errorf("sealane: address: %w", err)
	}
	if strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" {
		return "", false, fmt.Errorf("sealane: address %q must not have a path", address)
	}
	encrypted = parsed.Scheme == "https"
	port := parsed.Port()
	if port == "" {
		port = map[bool]string{true: "443", false: "80"}[encrypted]
	}
	return net.JoinHostPort(parsed.Hostname(), port), encrypted, nil
}

func isLocal(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	endpoint := target[strings.LastIndex(target, "/")+1:]
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		host = endpoint
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// splitServiceConfig takes the timeouts, by full method name, out of a service config. gRPC takes the smaller of
// such a timeout and the call's own deadline; ours are defaults that a call may exceed.
func splitServiceConfig(published string) (map[string]time.Duration, string, error) {
	var config map[string]any
	if err := json.Unmarshal([]byte(published), &config); err != nil {
		return nil, "", fmt.Errorf("sealane: service config: %w", err)
	}
	timeouts := map[string]time.Duration{}
	methods, _ := config["methodConfig"].([]any)
	for _, method := range methods {
		fields, _ := method.(map[string]any)
		text, _ := fields["timeout"].(string)
		delete(fields, "timeout")
		timeout, err := time.ParseDuration(text)
		if err != nil {
			return nil, "", fmt.Errorf("sealane: service config: %w", err)
		}
		names, _ := fields["name"].([]any)
		for _, name := range names {
			parts, _ := name.(map[string]any)
			timeouts[fmt.Sprintf("/%v/%v", parts["service"], parts["method"])] = timeout
		}
	}
	rest, err := json.Marshal(config)
	return timeouts, string(rest), err
}

func defaultTimeout(timeouts map[string]time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		if timeout, known := timeouts[method]; known {
			if _, set := ctx.Deadline(); !set {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
		}
		return invoke(ctx, method, request, reply, connection, options...)
	}
}

// The service keeps replies under gRPC's default limit unless a caller states a larger one.
func stateLimit(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "x-sealane-max-recv-bytes", strconv.Itoa(MaxMessageBytes))
}

func stateLimitUnary(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	return invoke(stateLimit(ctx), method, request, reply, connection, options...)
}

func stateLimitStream(ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return open(stateLimit(ctx), description, connection, method, options...)
}
