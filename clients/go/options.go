package sealane

import (
	"context"
	"crypto/tls"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Option changes how New connects.
type Option func(*settings)

type settings struct {
	token          func(context.Context) (string, error)
	tls            *tls.Config
	plaintextToken bool
	// How often a connection with a call on it is asked whether it still lives, and how long its answer may take.
	keepalive keepalive.ClientParameters
	dial      []grpc.DialOption
}

// WithToken sends this bearer token with every call. Without TLS only to this machine; see WithPlaintextToken.
func WithToken(token string) Option {
	return WithTokenSource(func(context.Context) (string, error) { return token, nil })
}

// WithTokenSource asks for the bearer token at every call, so that tokens can rotate.
func WithTokenSource(source func(context.Context) (string, error)) Option {
	return func(s *settings) { s.token = source }
}

// WithTLS connects by TLS; &tls.Config{} trusts the system's certificates. An https address does so by itself.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.tls = config }
}

// WithPlaintextToken permits a token without TLS beyond this machine, for networks that encrypt by themselves.
func WithPlaintextToken() Option {
	return func(s *settings) { s.plaintextToken = true }
}

// WithDialOptions adds gRPC's own options, such as interceptors and stats handlers.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

// bearer sends a token with every call. New has checked that the transport may carry it.
type bearer func(context.Context) (string, error)

func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return false }
