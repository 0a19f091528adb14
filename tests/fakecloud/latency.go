package fakecloud

import (
	"net/http"
	"time"
)

// SetLatency makes every answer of a service, those that are faults included, take
// d longer from now on; 0 takes the delay away. Registries and the endpoints of
// [Ambient] answer at once all the same. A request that is being delayed goes on
// being so, and ends without an answer if its client goes away or the cloud stops.
func (c *Cloud) SetLatency(d time.Duration) { c.latency.Store(int64(d)) }

// delay waits for as long as an answer is to take, and says whether there is still
// somebody to answer, and to be answered.
func (c *Cloud) delay(r *http.Request) bool {
	latency := time.Duration(c.latency.Load())
	if latency <= 0 {
		return true
	}
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-c.ctx.Done():
	}
	return false
}
