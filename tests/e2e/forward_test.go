//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
)

// forward ties connections to one address to another one, until the returned
// function is called.
func forward(ctx context.Context, from, to string) (stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", from)
	if err != nil {
		return nil, fmt.Errorf("forward to %s: %w", to, err)
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // stopped
			}
			go tie(ctx, client, to)
		}
	}()
	return func() { _ = listener.Close() }, nil
}

// tie copies both ways until one side ends.
func tie(ctx context.Context, client net.Conn, to string) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		return // the client sees its connection end
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}
