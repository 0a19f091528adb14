package main

import (
	"context"
	"errors"
	"fmt"
)

// measureIdle takes figure d: what the operator asks of the API server while
// nothing happens. The API server does not tell who asks, so its counters are
// those of everyone.
func (b *bench) measureIdle(ctx context.Context, w *world) (err error) {
	if err := w.ensureGranted(ctx); err != nil {
		return err
	}
	w.stop() // the observers would add watches of their own
	defer func() { err = errors.Join(err, w.observe(ctx)) }()
	if err := w.quiet(ctx); err != nil {
		return err
	}
	server, own, err := w.idleCounts(ctx)
	if err != nil {
		return err
	}
	cpu := w.operatorCPU(ctx)
	err = b.progress.wait(ctx, "watching the operator idle", b.settings.idle)
	if err != nil {
		return err
	}
	used := w.operatorCPU(ctx) - cpu
	serverNow, ownNow, err := w.idleCounts(ctx)
	if err != nil {
		return err
	}
	added, asked := serverNow.since(server), ownNow.since(own)
	everyone := added.filter(of("secrets", "imagepullsecrets", "namespaces", "pods", "events"))
	note := fmt.Sprintf("operator by method: %s; API server, all clients: %s; processor time %s", asked, everyone, short(used))
	r := b.results
	r.exactlyWith("d", w.n, fmt.Sprintf("writes while idle for %s", b.settings.idle), asked.sum(func(method string) bool { return method != "GET" }), 0, note)
	r.exactlyWith("d", w.n, "lists while idle", everyone.sum(lists), 0, "by everyone: objects, Secrets, Namespaces, Pods, Events")
	r.info("d", w.n, "watches begun anew, and other reads, while idle", fmt.Sprint(asked["GET"]), "")
	return w.tellMemory(w.n, "peak RSS after all of this")
}

// idleCounts returns the API server's requests and the operator's own.
func (w *world) idleCounts(ctx context.Context) (server, own counts, err error) {
	if server, err = w.serverRequests(ctx); err != nil {
		return nil, nil, err
	}
	own, err = w.operatorCounts(ctx, "rest_client_requests_total", "method")
	return server, own, err
}
