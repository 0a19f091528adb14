package fakecloud

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
)

// connect is the HTTPS proxy. It terminates nothing: it ties the client to the
// cloud's own TLS listener, which goes by the name of the handshake. A host that
// no service owns is refused, never dialled.
func (c *Cloud) connect(w http.ResponseWriter, r *http.Request) {
	host := hostKey(r.Host)
	if r.Method != http.MethodConnect || c.backendFor(host) == nil {
		c.refuse(w, host)
		return
	}
	c.work.Add(1)
	defer c.work.Done()
	upstream, err := (&net.Dialer{}).DialContext(c.ctx, "tcp", c.front.address())
	if err != nil {
		http.Error(w, "fakecloud: the cloud is stopping", http.StatusServiceUnavailable)
		return
	}
	defer upstream.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "fakecloud: the connection cannot be tunnelled", http.StatusInternalServerError)
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		return // the client is gone: nobody to tell
	}
	splice(c.ctx, client, buffered.Reader, upstream)
}

// splice copies both ways until one side ends or ctx is done, and returns when
// both copies have. clientReader may hold bytes read ahead of the hijack.
func splice(ctx context.Context, client net.Conn, clientReader *bufio.Reader, upstream net.Conn) {
	hangUp := func() {
		_ = client.Close()
		_ = upstream.Close()
	}
	defer context.AfterFunc(ctx, hangUp)()
	uploaded := make(chan struct{})
	go func() {
		defer close(uploaded)
		defer hangUp()
		_, _ = io.Copy(upstream, clientReader) // an error is an end like any other
	}()
	_, _ = io.Copy(client, upstream)
	hangUp()
	<-uploaded
}

// newClient makes the client that [Cloud.HTTPClient] returns.
func (c *Cloud) newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:           http.ProxyURL(c.ProxyURL()),
		TLSClientConfig: &tls.Config{RootCAs: c.CAPool(), MinVersion: tls.VersionTLS12},
	}}
}
