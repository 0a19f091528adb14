package cluster

import (
	"fmt"
	"path/filepath"
)

// The components' names, which are also their log files' and the first
// argument of the multi-call binary.
const (
	etcd                  = "etcd"
	kubeAPIServer         = "kube-apiserver"
	kubeControllerManager = "kube-controller-manager"
	kubeScheduler         = "kube-scheduler"
	kubeProxy             = "kube-proxy"
	kubelet               = "kubelet"
	containerd            = "containerd"
)

const issuer = "https://kubernetes.default.svc"

// Every component has at least one flag whose value is a path inside the
// cluster's directory: belongsTo recognises leftovers by it.

func etcdArgs(dir string, clientPort int) []string {
	url := "http://" + loopback(clientPort)
	return []string{
		"--data-dir=" + filepath.Join(dir, "etcd"),
		"--listen-client-urls=" + url,
		"--advertise-client-urls=" + url,
		"--listen-peer-urls=http://" + loopback(0), // a cluster of one: nobody asks
		"--unsafe-no-fsync",                        // the data does not outlive the process
		"--log-level=warn",
	}
}

// kubeAPIServerArgs are those of an API server at address, a loopback one if
// the cluster has no node.
func kubeAPIServerArgs(dir, address string, etcdPort, securePort int) []string {
	published := []string{
		// Endpoints must not be loopback addresses and no Pod needs them here,
		// so the address is one reserved for documentation (RFC 5737), which
		// also spares the search for a default route, and it is not published.
		"--advertise-address=192.0.2.1",
		"--endpoint-reconciler-type=none",
	}
	if address != loopbackAddress {
		published = []string{
			"--advertise-address=" + address,
			"--kubelet-client-certificate=" + filepath.Join(dir, kubeletClientCertificateFile),
			"--kubelet-client-key=" + filepath.Join(dir, kubeletClientKeyFile),
		}
	}
	return append(published,
		"--etcd-servers=http://"+loopback(etcdPort),
		"--bind-address="+address,
		fmt.Sprintf("--secure-port=%d", securePort),
		"--cert-dir="+filepath.Join(dir, "pki"),
		"--tls-cert-file="+filepath.Join(dir, servingCertificateFile),
		"--tls-private-key-file="+filepath.Join(dir, servingKeyFile),
		"--client-ca-file="+filepath.Join(dir, caFile),
		"--anonymous-auth=false",
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--service-account-issuer="+issuer,
		"--service-account-key-file="+filepath.Join(dir, serviceAccountKeyFile),
		"--service-account-signing-key-file="+filepath.Join(dir, serviceAccountKeyFile),
		"--service-cluster-ip-range=10.96.0.0/16",
	)
}

func kubeControllerManagerArgs(dir string) []string {
	return []string{
		"--kubeconfig=" + filepath.Join(dir, controllerManagerKubeconfigFile),
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + filepath.Join(dir, serviceAccountKeyFile),
		"--root-ca-file=" + filepath.Join(dir, caFile),
		"--leader-elect=false",
		"--secure-port=0",
		// A test must wait for the operator, never for these controllers'
		// client-side limits (20 requests a second) or a handful of workers.
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
		"--concurrent-gc-syncs=50",
		"--concurrent-namespace-syncs=50",
		"--concurrent-serviceaccount-token-syncs=20",
	}
}
