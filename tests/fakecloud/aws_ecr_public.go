package fakecloud

import (
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

const (
	ecrPublicGetToken = "SpencerFrontendService.GetAuthorizationToken"
	ecrPublicRegion   = "us-east-1" // the only one that has this API
)

var (
	ecrPublicAPIHosts = []string{"api.ecr-public.us-east-1.amazonaws.com", "ecr-public.us-east-1.api.aws"}
	ecrPublicHosts    = []string{"public.ecr.aws", "ecr-public.aws.com"}
)

// ecrPublic is the API of AWS ECR Public, which only the partition aws has, and
// keeps its registry. Nobody pulls without a login, as when the quota of that is
// used up at the real one.
type ecrPublic struct {
	iam      *iam
	lifetime func() time.Duration
	tokens   *issued[principal]
}

// GrantECRPublic lets a user or a role, by its ARN, obtain tokens of ECR Public and
// pull with them. Without it ECR Public refuses a token.
func (c *Cloud) GrantECRPublic(principalARN string) {
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	c.iam.public[principalARN] = true
	delete(c.iam.settings.noBearer, principalARN)
}

// mayUseECRPublic says whether p has the permissions on ECR Public.
func (i *iam) mayUseECRPublic(p principal) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.public[p.grantee]
}

func (*ecrPublic) service() Service { return ECRPublic }

func (*ecrPublic) owns(host string) bool { return slices.Contains(ecrPublicAPIHosts, host) }

func (e *ecrPublic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := e.answer(w, r)
	if err != nil {
		writeECRError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// publicAuthorization is the answer to GetAuthorizationToken on the wire: unlike
// that of ECR it holds an object, and names no registry.
type publicAuthorization struct {
	Data struct {
		Token     string       `json:"authorizationToken"`
		ExpiresAt awsTimestamp `json:"expiresAt"`
	} `json:"authorizationData"`
}

func (e *ecrPublic) answer(w http.ResponseWriter, r *http.Request) (*publicAuthorization, error) {
	if r.Method != http.MethodPost || r.Header.Get("X-Amz-Target") != ecrPublicGetToken {
		return nil, &ecrError{status: http.StatusBadRequest, Code: "UnknownOperationException"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestLimit))
	if err != nil {
		return nil, &ecrError{http.StatusBadRequest, "SerializationException", "The request body cannot be read."}
	}
	at := awsEndpoint{service: "ecr-public", region: ecrPublicRegion, partition: awsPartitions[0]}
	caller, err := e.iam.authenticate(r, body, at)
	if err != nil {
		return nil, err
	}
	if !e.iam.mayUseECRPublic(caller) {
		return nil, deniedToken(caller, "ecr-public:GetAuthorizationToken")
	}
	if !e.iam.mayGetBearerToken(caller) {
		return nil, deniedToken(caller, "sts:GetServiceBearerToken")
	}
	password := randomSecret(ecrPasswordLength)
	expires := e.tokens.clock().Add(e.tokens.lifetime(e.lifetime())).Truncate(time.Millisecond)
	e.tokens.add(password, caller, expires)
	answer := &publicAuthorization{}
	answer.Data.Token = base64.StdEncoding.EncodeToString([]byte(ecrUserName + ":" + password))
	answer.Data.ExpiresAt = awsTimestamp(expires)
	e.tokens.ledger.issue(answer.Data.Token)
	return answer, nil
}

// content is the same under both host names.
func (*ecrPublic) content(host string) (string, bool) {
	return ecrPublicHosts[0], slices.Contains(ecrPublicHosts, host)
}

// admits wants an unexpired token whose holder still may pull.
func (e *ecrPublic) admits(_, userName, password string, access []auth.Access) bool {
	holder, ok := e.tokens.find(password)
	return ok && userName == ecrUserName && onlyPulls(access) && e.iam.mayUseECRPublic(holder)
}

func (*ecrPublic) challenge(host string) challenge { return bearerChallenge(host, "/token/") }

func (*ecrPublic) writeFault(w http.ResponseWriter, kind FaultKind) {
	writeECRFault(w, kind, "ecr-public")
}
