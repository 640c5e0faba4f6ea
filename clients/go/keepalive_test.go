package sealane

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// silencing is a listener whose connections can fall silent, as they do when a machine loses its power: they stay open
// and nothing passes.
type silencing struct {
	net.Listener
	mutex sync.Mutex
	open  []*silenced
}

type silenced struct {
	net.Conn
	silent atomic.Bool
}

func (s *silencing) Accept() (net.Conn, error) {
	accepted, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	connection := &silenced{Conn: accepted}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.open = append(s.open, connection)
	return connection, nil
}

// silence ends all traffic of the connections that there are.
func (s *silencing) silence() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, connection := range s.open {
		connection.silent.Store(true)
	}
}

func (s *silenced) Read(buffer []byte) (int, error) {
	for {
		read, err := s.Conn.Read(buffer)
		if err != nil || !s.silent.Load() {
			return read, err
		}
	}
}

func (s *silenced) Write(bytes []byte) (int, error) {
	if s.silent.Load() {
		return len(bytes), nil
	}
	return s.Conn.Write(bytes)
}

func TestAConnectionThatFallsSilentIsReplaced(t *testing.T) {
	t.Parallel() // gRPC asks every ten seconds at the most
	listener := &silencing{Listener: listen(t)}
	service := &ingests{script: func(stream embedding) error {
		if stream.number > 1 {
			return each(answered)(stream)
		}
		item, err := stream.item()
		if err == nil {
			err = stream.answer(item, space)
		}
		<-stream.Context().Done()
		return errors.Join(err, io.ErrUnexpectedEOF)
	}}
	client := serveOn(t, listener, service, func(s *settings) {
		s.keepalive.Time, s.keepalive.Timeout = 10*time.Second, time.Second
	})
	ingestion, count := client.EmbedMany(t.Context(), "m", Texts("a", "b", "c")), 0
	for _, err := range ingestion.Results() {
		if err != nil {
			t.Fatal(err)
		}
		if count++; count == 1 {
			listener.silence()
		}
	}
	if summary := ingestion.Summary(); count != 3 || summary.Streams != 2 {
		t.Error(count, summary)
	}
}
