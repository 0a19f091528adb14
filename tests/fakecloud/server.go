package fakecloud

import (
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"
)

// server is one of the cloud's loopback listeners and what serves it.
type server struct {
	listener net.Listener
	http     *http.Server
}

// listen serves handler on a free loopback port, over TLS if config is given.
func (c *Cloud) listen(handler http.Handler, config *tls.Config) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on loopback: %w", err)
	}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	s := &server{listener: listener, http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(c.log, "fakecloud: ", 0),
		ConnState:         c.trackConnection,
	}}
	c.work.Go(func() { _ = s.http.Serve(listener) }) // always http.ErrServerClosed, by close
	return s, nil
}

// trackConnection makes Stop wait for the goroutine of each connection. One that
// was hijacked is its handler's to track.
func (c *Cloud) trackConnection(connection net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.work.Add(1)
		if c.ctx.Err() != nil {
			_ = connection.Close() // accepted while closing: http.Server.Close may have missed it
		}
	case http.StateClosed, http.StateHijacked:
		c.work.Done()
	}
}

func (s *server) address() string { return s.listener.Addr().String() }

// close ends the listener and all its connections at once. Closing is best
// effort: whatever is closed already is what was wanted.
func (s *server) close() { _ = s.http.Close() }

// serverTLS presents, for each name asked for, a certificate made on the fly.
func (c *Cloud) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // as the AWS endpoints; held and cut answers need it, too
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.authority.certificateFor(hello.ServerName)
		},
	}
}
