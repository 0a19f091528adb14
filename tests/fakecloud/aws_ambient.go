package fakecloud

import (
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strconv"
	"time"
)

const (
	ambientSession      = 6 * time.Hour
	instanceTokenHeader = "X-Aws-Ec2-Metadata-Token"
	instanceTTLHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	instanceRolePath    = "/latest/meta-data/iam/security-credentials/"
)

// PodIdentityEnv returns the environment variables, as KEY=value, by which a child
// process finds sessions of a role, as a pod does that EKS Pod Identity has
// associated with it. The association is all the trust that is needed. It panics on
// a role that is not there. The endpoint serves until [Cloud.Stop].
func (c *Cloud) PodIdentityEnv(roleARN string) []string {
	role := c.iam.mustFindRole(roleARN)
	token := randomSecret(64)
	c.ledger.issue(token)
	file, err := os.CreateTemp(c.directory, "pod-identity-token-")
	if err != nil {
		panic("fakecloud: " + err.Error())
	}
	_, err = file.WriteString(token)
	if closeErr := file.Close(); err != nil || closeErr != nil {
		panic("fakecloud: the token of a pod identity cannot be written")
	}
	address := c.serveAmbient(podIdentity{iam: c.iam, role: role, token: token})
	return []string{
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://" + address + "/v1/credentials",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + file.Name(),
	}
}

// InstanceRoleEnv returns the environment variable, as KEY=value, by which a child
// process finds sessions of a role, as a process does on an instance of EC2 whose
// role that is: by the instance metadata service, version 2 only. It panics on a
// role that is not there. The endpoint serves until [Cloud.Stop].
func (c *Cloud) InstanceRoleEnv(roleARN string) []string {
	role := c.iam.mustFindRole(roleARN)
	metadata := &instanceMetadata{iam: c.iam, role: role, tokens: newIssued[struct{}](c.clock, c.ledger)}
	return []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://" + c.serveAmbient(metadata.handler())}
}

func (i *iam) mustFindRole(arn string) awsRole {
	i.mu.Lock()
	defer i.mu.Unlock()
	role, ok := i.roles[arn]
	if !ok {
		panic(fmt.Sprintf("fakecloud: there is no role %q", arn))
	}
	return role
}

// ambientCredentials are a session on the wire of both endpoints.
type ambientCredentials struct {
	Code            string `json:",omitempty"`
	LastUpdated     string `json:",omitempty"`
	Type            string `json:",omitempty"`
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	AccountID       string `json:"AccountId,omitempty"`
	Expiration      string
}

func newAmbientCredentials(s awsSession) ambientCredentials {
	return ambientCredentials{
		AccessKeyID: s.keyID, SecretAccessKey: s.secret, Token: s.token, Expiration: s.expires.UTC().Format(time.RFC3339),
	}
}

// podIdentity is the agent of EKS Pod Identity on a node, for one pod.
type podIdentity struct {
	iam   *iam
	role  awsRole
	token string
}

func (p podIdentity) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.URL.Path != "/v1/credentials" {
		http.NotFound(w, r)
		return
	}
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(p.token)) != 1 {
		sendJSON(w, http.StatusBadRequest, map[string]string{"code": "AccessDeniedException", "message": "Unauthorized Exception! EKS does not have permissions to assume the associated role."})
		return
	}
	credentials := newAmbientCredentials(p.iam.open(p.role, "eks-pod-identity", ambientSession))
	credentials.AccountID = p.role.arn.account
	sendJSON(w, http.StatusOK, credentials)
}

// instanceMetadata is the metadata service of an instance of EC2.
type instanceMetadata struct {
	iam    *iam
	role   awsRole
	tokens *issued[struct{}]
}

func (m *instanceMetadata) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", m.serveToken)
	mux.HandleFunc("GET "+instanceRolePath+"{role...}", m.serveRole)
	return mux
}

// serveToken begins a session with the service, without which it tells nothing.
func (m *instanceMetadata) serveToken(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(r.Header.Get(instanceTTLHeader))
	if err != nil || seconds < 1 || seconds > 21600 {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	token := randomSecret(40)
	m.tokens.add(token, struct{}{}, m.tokens.expiry(time.Duration(seconds)*time.Second))
	w.Header().Set(instanceTTLHeader, strconv.Itoa(seconds))
	_, _ = io.WriteString(w, token)
}

// serveRole names the instance's role or, asked for it by name, opens a session.
func (m *instanceMetadata) serveRole(w http.ResponseWriter, r *http.Request) {
	if _, ok := m.tokens.find(r.Header.Get(instanceTokenHeader)); !ok {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	switch path.Base(r.URL.Path) {
	case path.Base(instanceRolePath):
		_, _ = io.WriteString(w, m.role.arn.name)
	case m.role.arn.name:
		credentials := newAmbientCredentials(m.iam.open(m.role, "i-0123456789abcdef0", ambientSession))
		credentials.Code, credentials.Type = "Success", "AWS-HMAC"
		credentials.LastUpdated = m.iam.clock().UTC().Format(time.RFC3339)
		sendJSON(w, http.StatusOK, credentials)
	default:
		http.NotFound(w, r)
	}
}
