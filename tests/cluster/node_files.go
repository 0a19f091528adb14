package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagepullsecrets/operator/tests/registry"
)

// Files in the cluster's directory, relative to it.
const (
	containerdConfigFile    = "containerd.toml"
	kubeletConfigFile       = "kubelet.yaml"
	kubeletKubeconfigFile   = "kubelet.kubeconfig"
	kubeProxyKubeconfigFile = "kube-proxy.kubeconfig"
	schedulerKubeconfigFile = "scheduler.kubeconfig"
)

// Where containerd listens; /run is the room's own.
const containerdSocket = "/run/containerd/containerd.sock"

// containerdConfig is a TOML text. restrict_oom_score_adj is for machines that
// do not let even root lower the score.
const containerdConfig = `version = 3
root = "{dir}/containerd"
state = "/run/containerd"
[grpc]
  address = "` + containerdSocket + `"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{sandbox}"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "{dir}/registries"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  runtime_path = "{binaries}/containerd-shim-runc-v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{cni}"]
  conf_dir = "{dir}/cni"
`

// kubeletConfig asks for as little as possible from the machine: no cgroup v2,
// no room to spare, no systemd.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://` + containerdSocket + `
address: ` + nodeAddress + `
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: "{dir}/` + caFile + `"}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
evictionHard: {memory.available: 1Mi, nodefs.available: 1%, imagefs.available: 1%}
makeIPTablesUtilChains: false
podLogsDir: "{dir}/pods"
readOnlyPort: 0
healthzPort: 0
resolvConf: ""
serializeImagePulls: false
`

// podNetworkConfig leaves addresses as they are: the machine knows the way to
// the Pods.
const podNetworkConfig = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "` + podNetwork + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}
`

// writeNodeFiles writes the configurations and identities of the node's programs.
func (c *Cluster) writeNodeFiles() error {
	fill := strings.NewReplacer("{dir}", c.dir, "{sandbox}", c.node.sandbox, "{binaries}", c.node.binaries, "{cni}", c.node.cni)
	if err := os.Mkdir(filepath.Join(c.dir, "cni"), 0o700); err != nil {
		return err
	}
	for file, content := range map[string]string{
		containerdConfigFile: containerdConfig,
		kubeletConfigFile:    kubeletConfig,
		"cni/pods.conflist":  podNetworkConfig,
	} {
		if err := os.WriteFile(filepath.Join(c.dir, file), []byte(fill.Replace(content)), 0o600); err != nil {
			return err
		}
	}
	if err := c.writeClientKubeconfig(kubeletKubeconfigFile, "system:node:"+nodeName, "system:nodes"); err != nil {
		return err
	}
	if err := c.writeClientKubeconfig(kubeProxyKubeconfigFile, "system:"+kubeProxy); err != nil {
		return err
	}
	return c.writeClientKubeconfig(schedulerKubeconfigFile, "system:"+kubeScheduler)
}

func kubeSchedulerArgs(dir string) []string {
	return []string{
		"--kubeconfig=" + filepath.Join(dir, schedulerKubeconfigFile),
		"--leader-elect=false",
		"--secure-port=0",
	}
}

func kubeletArgs(dir string) []string {
	return []string{
		"--kubeconfig=" + filepath.Join(dir, kubeletKubeconfigFile),
		"--config=" + filepath.Join(dir, kubeletConfigFile),
		"--root-dir=" + filepath.Join(dir, "kubelet"),
		"--cert-dir=" + filepath.Join(dir, "pki"),
		"--hostname-override=" + nodeName,
		"--node-ip=" + nodeAddress,
	}
}

func kubeProxyArgs(dir string) []string {
	return []string{
		"--kubeconfig=" + filepath.Join(dir, kubeProxyKubeconfigFile),
		"--hostname-override=" + nodeName,
		"--proxy-mode=iptables",
		"--iptables-localhost-nodeports=false",
		"--cluster-cidr=" + podNetwork,
		// The limits of connection tracking are the machine's, not the room's.
		"--conntrack-max-per-core=0",
		"--conntrack-tcp-timeout-established=0s",
		"--conntrack-tcp-timeout-close-wait=0s",
		"--metrics-bind-address=" + loopbackAddress + ":10249",
		"--healthz-bind-address=" + loopbackAddress + ":10256",
	}
}

// PauseImage returns the image of a program that does nothing until it is told
// to end.
func (c *Cluster) PauseImage() (v1.Image, error) {
	if c.node == nil {
		return nil, fmt.Errorf("the cluster has no node, and no image for it")
	}
	return registry.ProgramImage(filepath.Join(c.node.binaries, "pause"), "/pause")
}
