package sealane_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sealane "github.com/sealane/sealane/clients/go"
)

// The client over TLS: with a token, with a client certificate, and with ones that prove nothing.

const secured = `
tls: { certificate: { file: server.pem }, key: { file: server.key }, client_ca: { file: clients.pem } }
callers:
  - { name: tests, token: { env: CALLER_TOKEN }, policy: unrestricted }
  - { name: ingest, certificate: { san: ['spiffe://contoso.com/ingest'] }, policy: unrestricted }
`

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// issue is a certificate for this machine's address, or for the owner of a URI.
func (a *authority) issue(t *testing.T, uri string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if uri != "" {
		name, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.ExtKeyUsage, template.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil
		template.URIs = []*url.URL{name}
	}
	key := newKey(t)
	encoded, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{encoded}, PrivateKey: key}
}

func writePEM(t *testing.T, path, kind string, encoded []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: encoded})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func securedService(t *testing.T, servers, clients *authority) *service {
	t.Helper()
	folder := t.TempDir()
	server := servers.issue(t, "")
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(folder, "server.pem"), "CERTIFICATE", server.Certificate[0])
	writePEM(t, filepath.Join(folder, "server.key"), "PRIVATE KEY", key)
	writePEM(t, filepath.Join(folder, "clients.pem"), "CERTIFICATE", clients.certificate.Raw)
	running, err := startService(folder, secured)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.stop)
	return running
}

func TestTLS(t *testing.T) {
	servers, clients := newAuthority(t, "servers"), newAuthority(t, "clients")
	running := securedService(t, servers, clients)
	call := func(config *tls.Config, options ...sealane.Option) error {
		client, err := sealane.New(running.address, append(options, sealane.WithTLS(config))...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		_, err = complete(within(t), client)
		return err
	}
	shows := func(certificate tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: servers.pool(), Certificates: []tls.Certificate{certificate}}
	}

	if err := call(&tls.Config{RootCAs: servers.pool()}, sealane.WithToken(token)); err != nil {
		t.Errorf("with a token: %v", err)
	}
	if err := call(shows(clients.issue(t, "spiffe://contoso.com/ingest"))); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	for cause, certificate := range map[string]tls.Certificate{
		"unknown_authority": newAuthority(t, "strangers").issue(t, "spiffe://contoso.com/ingest"),
		"unknown_name":      clients.issue(t, "spiffe://contoso.com/other"),
	} {
		refused := status.Convert(call(shows(certificate)))
		if refused.Code() != codes.Unauthenticated {
			t.Fatalf("%s: %v", cause, refused)
		}
		for _, detail := range refused.Details() {
			info, is := detail.(*errdetails.ErrorInfo)
			if is && (info.Reason != "INVALID_CERTIFICATE" || info.Metadata["cause"] != cause) {
				t.Errorf("%s: %v", cause, info)
			}
		}
	}
	if err := call(&tls.Config{RootCAs: clients.pool()}, sealane.WithToken(token)); status.Code(err) != codes.Unavailable {
		t.Errorf("a service that is not trusted: %v", err)
	}
}
