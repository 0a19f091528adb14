package operator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/imagepullsecrets/operator/tests/cluster"
)

// Build compiles the operator into a directory and returns the binary's path.
// flags are further flags of go build, such as -cover.
func Build(ctx context.Context, directory string, flags ...string) (string, error) {
	binary := filepath.Join(directory, "imagepullsecret-operator")
	arguments := append([]string{"build", "-tags", "grpcnotrace", "-o", binary}, flags...)
	command := exec.CommandContext(ctx, "go", append(arguments, ".")...)
	command.Dir = Root()
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the operator: %w\n%s", err, output)
	}
	return binary, nil
}

// Options say how to run the operator.
type Options struct {
	// Binary is the operator, from Build.
	Binary string
	// Kubeconfig is the file that it finds the cluster by.
	Kubeconfig string
	// Subcommand is what it runs as; manager if empty.
	Subcommand string
	// Args follow the subcommand.
	Args []string
	// Env is added to an environment that is empty otherwise.
	Env []string
	// Output receives what it logs, beside Process.Log; nil for nowhere.
	Output io.Writer
}

// Process is a running operator.
type Process struct {
	command *exec.Cmd
	log     *logBuffer
	metrics string
	probes  string
	done    chan struct{}
	err     error
	last    atomic.Pointer[string] // the metrics at its end
}

const (
	readyDeadline   = time.Minute
	stopDeadline    = 20 * time.Second
	metricsDeadline = 5 * time.Second
)

// Start runs the operator and returns when it is ready. It is killed when ctx
// ends or this process does.
func Start(ctx context.Context, o Options) (*Process, error) {
	addresses, err := freeAddresses(2)
	if err != nil {
		return nil, err
	}
	p := &Process{log: &logBuffer{also: o.Output}, metrics: addresses[0], probes: addresses[1], done: make(chan struct{})}
	arguments := append([]string{cmp.Or(o.Subcommand, "manager"), "--metrics-bind-address=" + p.metrics, "--health-probe-bind-address=" + p.probes}, o.Args...)
	p.command = exec.CommandContext(ctx, o.Binary, arguments...)
	p.command.Env = append([]string{"KUBECONFIG=" + o.Kubeconfig, "PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}, o.Env...)
	p.command.Stdout, p.command.Stderr = p.log, p.log
	if err := cluster.StartBound(p.command); err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.done)
	}()
	if err := p.waitReady(ctx); err != nil {
		_ = p.Stop()
		return nil, fmt.Errorf("%w; its log:\n%s", err, p.Log())
	}
	return p, nil
}

func (p *Process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyDeadline)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if status, _, err := get(ctx, "http://"+p.probes+"/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the operator ended before it was ready: %w", p.err)
		case <-ctx.Done():
			return errors.New("the operator was not ready in time")
		case <-poll.C:
		}
	}
}

// Stop ends the operator as a kubelet does, by SIGTERM, and returns an error
// if that does not end it well. It may be called again.
func (p *Process) Stop() error {
	p.keepMetrics()
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(stopDeadline):
		_ = p.command.Process.Kill()
		<-p.done
		return errors.New("the operator did not end by SIGTERM")
	}
}

// Kill ends the operator at once, as a node that dies does.
func (p *Process) Kill() {
	p.keepMetrics()
	_ = p.command.Process.Kill()
	<-p.done
}

// Pid is the process's number.
func (p *Process) Pid() int { return p.command.Process.Pid }

// Log returns what was logged so far.
func (p *Process) Log() string { return p.log.String() }

// MetricsURL is where the operator serves its metrics.
func (p *Process) MetricsURL() string { return "http://" + p.metrics + "/metrics" }

// Metrics returns the operator's metrics in Prometheus's text format: those of
// its last moment once Stop or Kill was called.
func (p *Process) Metrics(ctx context.Context) (string, error) {
	if last := p.last.Load(); last != nil {
		return *last, nil
	}
	_, body, err := get(ctx, p.MetricsURL())
	return body, err
}

// keepMetrics keeps the metrics of a process that is about to be ended; one
// that ended by itself has none.
func (p *Process) keepMetrics() {
	ctx, cancel := context.WithTimeout(context.Background(), metricsDeadline)
	defer cancel()
	if text, err := p.Metrics(ctx); err == nil {
		p.last.Store(&text)
	}
}

// Probe returns the HTTP status and body of one of /healthz and /readyz.
func (p *Process) Probe(ctx context.Context, path string) (int, string, error) {
	return get(ctx, "http://"+p.probes+path)
}

func get(ctx context.Context, url string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func freeAddresses(count int) ([]string, error) {
	var addresses []string
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

// logBuffer keeps what is written to it.
type logBuffer struct {
	also io.Writer

	mu      sync.Mutex
	content bytes.Buffer
}

// Write keeps text and passes it on.
func (b *logBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.also != nil {
		_, _ = b.also.Write(text)
	}
	return b.content.Write(text)
}

// String returns everything that was written.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.String()
}
