package sealane_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	sealane "github.com/sealane/sealane/clients/go"
)

// Two simulated Azure regions and the service over them, each a process of the sealane binary, shared by all tests.

const (
	primaryName = "swedencentral"
	standbyName = "francecentral"
	token       = "a-token-of-the-client-tests"
)

// Limits short enough to wait for. Callers exist, so that every test shows its token.
const config = `
resources:
  - { name: %[1]s, region: %[1]s, endpoint: '%[2]s', auth: { api_key: { env: SIMULATED_KEY } } }
  - { name: %[3]s, region: %[3]s, endpoint: '%[4]s', auth: { api_key: { env: SIMULATED_KEY } } }
models:
  - name: gpt-4o
    targets:
      - { resource: %[1]s, deployment: gpt-4o, sku: Standard }
      - { resource: %[3]s, deployment: gpt-4o, sku: Standard }
  - name: gpt-4.1-mini
    targets:
      - { resource: %[1]s, deployment: gpt-4.1-mini, sku: Standard }
      - { resource: %[3]s, deployment: gpt-4.1-mini, sku: Standard }
  - name: text-embedding-3-large
    kind: embedding
    targets:
      - { resource: %[1]s, deployment: text-embedding-3-large, sku: Standard }
      - { resource: %[3]s, deployment: text-embedding-3-large, sku: Standard }
failover: { first_content: 2s }
drain: { delay: 0s, grace: 1s }
%[5]s
`

const tokenOnly = `
callers:
  - { name: tests, token: { env: CALLER_TOKEN }, policy: unrestricted }
`

type region struct {
	Name     string `json:"region"`
	Endpoint string `json:"endpoint"`
	Control  string `json:"control"`
}

type service struct {
	address          string
	primary, standby *region
	stop             func()
}

type regionState struct {
	Requests        map[string]int `json:"requests"`
	DroppedByClient int            `json:"dropped_by_client"`
	Traceparents    []string       `json:"traceparents"`
}

var shared = sync.OnceValues(func() (*service, error) {
	folder, err := os.MkdirTemp("", "sealane-go-tests")
	if err != nil {
		return nil, err
	}
	return startService(folder, tokenOnly)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if running, err := shared(); err == nil {
		running.stop()
	}
	os.Exit(code)
}

// realService is the shared service; its regions are healthy again when the test ends.
func realService(t *testing.T) *service {
	t.Helper()
	running, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		running.primary.control(t, http.MethodDelete, "faults", nil)
		running.standby.control(t, http.MethodDelete, "faults", nil)
	})
	return running
}

func (s *service) client(t *testing.T, options ...sealane.Option) *sealane.Client {
	t.Helper()
	client, err := sealane.New(s.address, append([]sealane.Option{sealane.WithToken(token)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// fault makes something happen to the region's requests from now on, such as fault("stream_reset", "at", 5).
func (r *region) fault(t *testing.T, kind string, settings ...any) {
	t.Helper()
	fault := map[string]any{"kind": kind}
	for i := 0; i+1 < len(settings); i += 2 {
		fault[fmt.Sprint(settings[i])] = settings[i+1]
	}
	rule := map[string]any{"fault": fault}
	if deployment, given := fault["deployment"]; given {
		delete(fault, "deployment")
		rule["deployment"] = deployment
	}
	r.control(t, http.MethodPost, "faults", rule)
}

func (r *region) state(t *testing.T) (state regionState) {
	t.Helper()
	if err := json.Unmarshal(r.control(t, http.MethodGet, "state", nil), &state); err != nil {
		t.Fatal(err)
	}
	return state
}

func (r *region) waitUntil(t *testing.T, what string, holds func(regionState) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(r.state(t)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time: %s", r.Name, what)
		}
	}
}

func (r *region) control(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(method, r.Control+"/_simulator/"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s %v", method, path, answer.Status, said, err)
	}
	return said
}

// startService keeps its files in the folder and removes it in the end. access says who may call, and how.
func startService(folder, access string) (*service, error) {
	binary := os.Getenv("SEALANE_BIN")
	if binary == "" {
		binary = filepath.Join("..", "..", "target", "debug", "sealane")
	}
	var simulated struct{ Regions []*region }
	stopRegions, err := start(&simulated, binary, "simulate", "--region", primaryName, "--region", standbyName)
	if err != nil {
		return nil, err
	}
	primary, standby := simulated.Regions[0], simulated.Regions[1]
	file := filepath.Join(folder, "sealane.yaml")
	text := fmt.Sprintf(config, primary.Name, primary.Endpoint, standby.Name, standby.Endpoint, access)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		stopRegions()
		return nil, err
	}
	var serving struct{ Listening string }
	stopService, err := start(&serving, binary, "serve", "--config", file, "--listen", "127.0.0.1:0")
	if err != nil {
		stopRegions()
		return nil, err
	}
	stop := func() {
		stopService()
		stopRegions()
		_ = os.RemoveAll(folder)
	}
	return &service{address: serving.Listening, primary: primary, standby: standby, stop: stop}, nil
}

// start runs the binary and reads the line of JSON with which it says that it is up.
func start(up any, binary string, arguments ...string) (stop func(), err error) {
	command := exec.Command(binary, append([]string{"--output", "json"}, arguments...)...)
	command.Env = append(os.Environ(), "SIMULATED_KEY=simulated-key", "CALLER_TOKEN="+token)
	var log bytes.Buffer
	command.Stderr = &log
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("run cargo build, or set SEALANE_BIN: %w", err)
	}
	stop = func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(10*time.Second, func() { _ = command.Process.Kill() })
		_ = command.Wait()
		kill.Stop()
	}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, up)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("sealane %s did not start: %w: %s", arguments[0], err, log.String())
	}
	return stop, nil
}
