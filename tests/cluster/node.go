package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/imagepullsecrets/operator/tests/registry"
)

// HostAddress is the address of this machine, while it has a node, at which the
// node and its Pods reach what listens here, the API server included.
const HostAddress = "10.89.77.1"

// A node's network: the machine and the room are two ends of a cable, and the
// Pods are on a bridge in the room.
const (
	nodeName = "node"

	nodeAddress = "10.89.77.2"
	podNetwork  = "10.89.78.0/24"

	hostInterface = "ips-e2e-host"
	nodeInterface = "ips-e2e-node"

	loopbackAddress = "127.0.0.1"
)

// nodePackages are the Debian packages of what a node takes from the system.
const nodePackages = "runc containernetworking-plugins iptables iproute2 mount"

// cniDirs are where distributions put the CNI plugins.
var cniDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// node is what a cluster with a node has beside the control plane.
type node struct {
	lock    *os.File // there is one node on a machine at a time
	room    *room
	pauses  *registry.Registry // has the image of the Pods' own process
	sandbox string             // its reference

	binaries   string   // the directory of containerd
	cni        string   // the directory of CNI plugins
	env        []string // of containerd, beside what all components have
	components []*component
}

// AllowPlainHTTP has the node pull from a registry, "<host>:<port>", by HTTP.
func (c *Cluster) AllowPlainHTTP(registry string) error {
	dir := filepath.Join(c.dir, "registries", registry)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "hosts.toml"), fmt.Appendf(nil, "server = \"http://%s\"\n", registry), 0o600)
}

// prepareNode makes what a node needs before there is a control plane. After
// an error c.node holds what has to be undone.
func (c *Cluster) prepareNode(ctx context.Context, s setup) error {
	cni, err := nodeRequirements()
	if err != nil {
		return err
	}
	c.node = &node{cni: cni, env: s.NodeEnv}
	if c.node.binaries, err = built(ctx, s.cache, containerdSoftware, s.progress); err != nil {
		return fmt.Errorf("build containerd for the test cluster: %w", err)
	}
	c.node.lock, err = lockFile(ctx, filepath.Join(s.cache, "node.lock"), func() {
		s.progress.printf("waiting for another process, which has the machine's node")
	})
	if err != nil {
		return err
	}
	if err := removePodCgroups(ctx); err != nil {
		return err
	}
	if c.node.room, err = openRoom(filepath.Join(c.dir, "logs", "room.log")); err != nil {
		return err
	}
	if err := c.node.connect(); err != nil {
		return err
	}
	c.address = HostAddress
	return c.servePause(ctx)
}

// nodeRequirements returns the directory of the CNI plugins, or what is missing
// and how it is installed.
func nodeRequirements() (cni string, err error) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return "", errors.New("a node needs Linux and root")
	}
	var missing []string
	for _, command := range []string{"bash", "runc", "iptables", "ip", "mount"} {
		if _, err := exec.LookPath(command); err != nil {
			missing = append(missing, command)
		}
	}
	for _, dir := range cniDirs {
		if exists(filepath.Join(dir, "bridge")) && exists(filepath.Join(dir, "host-local")) {
			cni = dir
			break
		}
	}
	if cni == "" {
		missing = append(missing, "CNI plugins")
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("a node needs %s (as root: apt-get update && apt-get install -y --no-install-recommends %s)",
			strings.Join(missing, ", "), nodePackages)
	}
	return cni, nil
}

// connect lays the cable between the machine and the room.
func (n *node) connect() error {
	outside, inside := startChild, n.room.start
	_ = runCommand(outside, "ip", "link", "delete", hostInterface) // an earlier run's, for as long as its room takes to go
	for _, step := range []struct {
		where   func(*exec.Cmd) error
		command string
	}{
		{outside, "ip link add " + hostInterface + " type veth peer name " + nodeInterface + " netns " + strconv.Itoa(n.room.pid())},
		{outside, "ip address add " + HostAddress + "/24 dev " + hostInterface},
		{outside, "ip link set " + hostInterface + " up"},
		{inside, "ip address add " + nodeAddress + "/24 dev " + nodeInterface},
		{inside, "ip link set " + nodeInterface + " up"},
		{inside, "ip route add default via " + HostAddress},
		{outside, "ip route add " + podNetwork + " via " + nodeAddress},
	} {
		command := strings.Fields(step.command)
		if err := runCommand(step.where, command[0], command[1:]...); err != nil {
			return fmt.Errorf("connect the node: %w", err)
		}
	}
	return nil
}

// runCommand runs a command, started by start, to its end. Its error holds what
// the command printed.
func runCommand(start func(*exec.Cmd) error, name string, args ...string) error {
	var output strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := start(cmd); err != nil {
		return fmt.Errorf("run %s: %w", name, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(output.String()))
	}
	return nil
}

// servePause has the node find the image of the Pods' own process, the sandbox.
func (c *Cluster) servePause(ctx context.Context) error {
	image, err := c.PauseImage()
	if err != nil {
		return err
	}
	if c.node.pauses, err = registry.Start(ctx, c.address, registry.Login{}); err != nil {
		return err
	}
	if c.node.sandbox, err = c.node.pauses.Push(ctx, image, "pause:1"); err != nil {
		return err
	}
	return c.AllowPlainHTTP(c.node.pauses.Host())
}

// startNode starts the node's programs and returns when it is ready for Pods.
func (c *Cluster) startNode(ctx context.Context, commands commands, client kubernetes.Interface) error {
	if err := c.writeNodeFiles(); err != nil {
		return err
	}
	if err := c.run(commands, kubeScheduler, kubeSchedulerArgs(c.dir)); err != nil {
		return err
	}
	if err := c.runOnNode(containerd, []string{filepath.Join(c.node.binaries, containerd), "--config=" + filepath.Join(c.dir, containerdConfigFile)}); err != nil {
		return err
	}
	if err := c.await(ctx, "containerd listens", c.node.containerdListens); err != nil {
		return err
	}
	if err := c.runOnNode(kubelet, append(commands(kubelet), kubeletArgs(c.dir)...)); err != nil {
		return err
	}
	if err := c.runOnNode(kubeProxy, append(commands(kubeProxy), kubeProxyArgs(c.dir)...)); err != nil {
		return err
	}
	return c.await(ctx, "the node is ready", nodeReady(client))
}

// runOnNode starts a program in the node's room and takes responsibility for
// stopping it.
func (c *Cluster) runOnNode(name string, command []string) error {
	var env []string
	if name == containerd {
		env = c.node.env
	}
	component, err := startComponent(c.node.room.withEnv(env), name, command, c.dir)
	if err != nil {
		return err
	}
	c.node.components = append(c.node.components, component)
	return nil
}

// withEnv returns start for programs that have more in their environment.
func (r *room) withEnv(env []string) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		cmd.Env = append(cmd.Env, env...)
		return r.start(cmd)
	}
}

// containerdListens asks for what the kubelet does not wait for.
func (n *node) containerdListens(ctx context.Context) error {
	// The first process' root directory is the room's.
	socket := filepath.Join("/proc", strconv.Itoa(n.room.pid()), "root", containerdSocket)
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return connection.Close()
}

func nodeReady(client kubernetes.Interface) func(context.Context) error {
	return func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type != corev1.NodeReady {
				continue
			}
			if condition.Status == corev1.ConditionTrue {
				return nil
			}
			return errors.New(condition.Message)
		}
		return errors.New("the node has not said whether it is ready")
	}
}

// stop ends the node with all its Pods and undoes what was made for it.
func (n *node) stop() error {
	var errs []error
	if n.room != nil {
		errs = append(errs, n.room.close())
		for _, component := range n.components {
			<-component.done // the kernel has killed it
		}
		errs = append(errs, removePodCgroups(context.Background()))
	}
	if n.pauses != nil {
		errs = append(errs, n.pauses.Stop())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}
