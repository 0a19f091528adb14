package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Files in the cluster's directory, relative to it.
const (
	caFile                          = "pki/ca.crt"
	servingCertificateFile          = "pki/serving.crt"
	servingKeyFile                  = "pki/serving.key"
	serviceAccountKeyFile           = "pki/service-account.key"
	kubeletClientCertificateFile    = "pki/kubelet-client.crt"
	kubeletClientKeyFile            = "pki/kubelet-client.key"
	controllerManagerKubeconfigFile = "controller-manager.kubeconfig"
)

const tokenLifetime = 24 * time.Hour

// ServiceAccountKubeconfig returns the path of a new kubeconfig file that
// authenticates as an existing ServiceAccount, with a token of the API
// server's own audience that is valid for 24 hours. The token ends with its
// ServiceAccount, which is what the error is about if there is none. Each
// call makes another file; all are removed by Stop.
func (c *Cluster) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (path string, err error) {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return "", fmt.Errorf("make a client: %w", err)
	}
	seconds := int64(tokenLifetime / time.Second)
	request, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request a token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	// "_" is in neither name, so no two ServiceAccounts share a file name.
	file, err := os.CreateTemp(filepath.Join(c.dir, "kubeconfigs"), namespace+"_"+name+"_*.kubeconfig")
	if err != nil {
		return "", fmt.Errorf("make a kubeconfig file: %w", err)
	}
	if err := file.Close(); err != nil {
		return "", fmt.Errorf("make a kubeconfig file: %w", err)
	}
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = request.Status.Token
	return file.Name(), writeKubeconfig(file.Name(), config)
}

// writeIdentities makes the authority, the certificates and keys of all
// components and the kubeconfig files, and sets the administrator's client
// configuration for the API server that will listen at address and port.
func (c *Cluster) writeIdentities(address string, port int) error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	c.authority = ca
	host := "https://" + net.JoinHostPort(address, strconv.Itoa(port))
	if err := c.writeServerKeys(ca, address); err != nil {
		return err
	}
	admin, err := ca.client("test-cluster-admin", "system:masters")
	if err != nil {
		return err
	}
	c.config = clientConfig(host, ca, admin)
	if err := writeKubeconfig(c.Kubeconfig(), c.config); err != nil {
		return err
	}
	return c.writeClientKubeconfig(controllerManagerKubeconfigFile, "system:"+kubeControllerManager)
}

// writeClientKubeconfig writes a kubeconfig file that authenticates as user, a
// member of groups. file is relative to the cluster's directory.
func (c *Cluster) writeClientKubeconfig(file, user string, groups ...string) error {
	identity, err := c.authority.client(user, groups...)
	if err != nil {
		return err
	}
	return writeKubeconfig(filepath.Join(c.dir, file), clientConfig(c.config.Host, c.authority, identity))
}

func (c *Cluster) writeServerKeys(ca *authority, address string) error {
	serving, err := ca.serving(address)
	if err != nil {
		return err
	}
	kubeletClient, err := ca.client(kubeAPIServer, "system:masters")
	if err != nil {
		return err
	}
	serviceAccountKey, err := newServiceAccountKey()
	if err != nil {
		return err
	}
	for path, content := range map[string][]byte{
		caFile:                       ca.pem,
		servingCertificateFile:       serving.certificate,
		servingKeyFile:               serving.key,
		serviceAccountKeyFile:        serviceAccountKey,
		kubeletClientCertificateFile: kubeletClient.certificate,
		kubeletClientKeyFile:         kubeletClient.key,
	} {
		if err := os.WriteFile(filepath.Join(c.dir, path), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// clientConfig returns a client configuration without a rate limit: requests
// are the API server's own to queue, and a test is not slowed by its client.
func clientConfig(host string, ca *authority, identity keyPair) *rest.Config {
	return &rest.Config{
		Host:            host,
		QPS:             -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca.pem, CertData: identity.certificate, KeyData: identity.key},
	}
}

// writeKubeconfig writes a kubeconfig file that holds what config does, except
// for the rate limit, for which the format has no field.
func writeKubeconfig(path string, config *rest.Config) error {
	const name = "test-cluster"
	kubeconfig := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server:                   config.Host,
			CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: config.CertData,
			ClientKeyData:         config.KeyData,
			Token:                 config.BearerToken,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}
	if err := clientcmd.WriteToFile(kubeconfig, path); err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	return nil
}
