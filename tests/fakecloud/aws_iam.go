package fakecloud

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"
)

// defaultMaxSession is the longest session of a role that says nothing else.
const defaultMaxSession = time.Hour

// AccessKey is a long-lived key of an AWS user.
type AccessKey struct {
	// ID is the public half, as in AKIA….
	ID string
	// Secret is the half that signs.
	Secret string
	// UserARN names the user that owns the key, for [Trust] and [Cloud.GrantECR].
	UserARN string
}

// Trust is the trust policy of a role.
type Trust struct {
	// Principals may assume the role. Each is the ARN of a user, of a role or of
	// an assumed-role session, the ID of an access key (meaning its owner), or an
	// account's ID or root ARN (meaning everyone in it).
	Principals []string
	// WebIdentities are the bearers of OIDC tokens that may assume the role.
	WebIdentities []WebIdentity
	// ExternalID must be presented if it is not empty.
	ExternalID string
	// MaxDuration is the longest session that the role allows. Zero means one
	// hour.
	MaxDuration time.Duration
}

// principal is who signed a request.
type principal struct {
	partition string
	account   string
	arn       string // as error messages name the caller
	grantee   string // what permissions hang on: the user, or the role behind a session
	session   bool
}

// awsCredential is a key that the cloud knows, long-lived or of a session.
type awsCredential struct {
	secret   string
	token    string // of a session
	owner    principal
	expires  time.Time // of a session
	disabled bool
}

// awsRole is a role and who may assume it.
type awsRole struct {
	arn   roleARN
	id    string
	trust Trust
}

// iam knows the identities of all accounts and what they may do.
type iam struct {
	clock  func() time.Time
	ledger *ledger

	mu          sync.Mutex
	credentials map[string]*awsCredential  // by access key ID
	roles       map[string]awsRole         // by ARN
	grants      map[string]map[string]bool // grantee to the accounts whose registries it may pull from
	public      map[string]bool            // grantees that may use ECR Public
	providers   map[oidcProvider][]string  // to the client IDs
	settings    awsSettings
}

func newIAM(clock func() time.Time, ledger *ledger) *iam {
	return &iam{
		clock: clock, ledger: ledger,
		credentials: map[string]*awsCredential{}, roles: map[string]awsRole{}, grants: map[string]map[string]bool{},
		public: map[string]bool{}, providers: map[oidcProvider][]string{}, settings: newAWSSettings(),
	}
}

// AddAccessKey makes a new random key for a user of an account of the partition
// aws. The user exists from its first key on, and may have several.
func (c *Cloud) AddAccessKey(account, userName string) AccessKey {
	return c.AddAccessKeyIn("aws", account, userName)
}

// AddAccessKeyIn is [Cloud.AddAccessKey] for any partition, such as aws-cn. The
// key is unknown at the hosts of all others. It panics on an account that is not
// twelve digits and on a partition that there is not.
func (c *Cloud) AddAccessKeyIn(partition, account, userName string) AccessKey {
	if !isAccountID(account) {
		panic(fmt.Sprintf("fakecloud: %q is no AWS account ID", account))
	}
	if !slices.ContainsFunc(awsPartitions, func(p awsPartition) bool { return p.name == partition }) {
		panic(fmt.Sprintf("fakecloud: %q is no AWS partition", partition))
	}
	arn := fmt.Sprintf("arn:%s:iam::%s:user/%s", partition, account, userName)
	key := AccessKey{ID: randomID("AKIA"), Secret: randomSecret(30), UserARN: arn}
	c.iam.add(key.ID, &awsCredential{
		secret: key.Secret,
		owner:  principal{partition: partition, account: account, arn: arn, grantee: arn},
	})
	c.ledger.issue(key.Secret)
	return key
}

// DisableAccessKey makes a key inactive: services answer as if they had never
// heard of it. Sessions and tokens obtained with it live on.
func (c *Cloud) DisableAccessKey(id string) {
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	if credential, ok := c.iam.credentials[id]; ok {
		credential.disabled = true
	}
}

// AddRole makes a role, or replaces the trust policy of one that is there. It
// panics on an ARN that is not a role's.
func (c *Cloud) AddRole(roleARN string, trust Trust) {
	arn, ok := parseRoleARN(roleARN)
	if !ok {
		panic(fmt.Sprintf("fakecloud: %q is no role ARN", roleARN))
	}
	if trust.MaxDuration == 0 {
		trust.MaxDuration = defaultMaxSession
	}
	trust.Principals = slices.Clone(trust.Principals)
	trust.WebIdentities = slices.Clone(trust.WebIdentities)
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	role, ok := c.iam.roles[roleARN]
	if !ok {
		role = awsRole{arn: arn, id: randomID("AROA")}
	}
	role.trust = trust
	c.iam.roles[roleARN] = role
}

// GrantECR lets a user or a role, by its ARN, obtain ECR tokens and pull from the
// registries of these accounts, in all regions. Without any grant ECR refuses it a
// token. Grants add up; sessions have those of their role. They are looked at on
// every pull, as policies are, not stamped into tokens.
func (c *Cloud) GrantECR(principalARN string, accounts ...string) {
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	granted := c.iam.grants[principalARN]
	if granted == nil {
		granted = map[string]bool{}
		c.iam.grants[principalARN] = granted
	}
	for _, account := range accounts {
		granted[account] = true
	}
}

// RevokeECR takes back all that [Cloud.GrantECR] and [Cloud.GrantECRPublic] gave to a
// user or a role. Tokens already issued to it open no registry any more.
func (c *Cloud) RevokeECR(principalARN string) {
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	delete(c.iam.grants, principalARN)
	delete(c.iam.public, principalARN)
}

func (i *iam) add(id string, credential *awsCredential) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.credentials[id] = credential
}

// find returns the credential of a key that is known and active in a partition.
func (i *iam) find(id, partition string) (awsCredential, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	credential, ok := i.credentials[id]
	if !ok || credential.disabled || credential.owner.partition != partition {
		return awsCredential{}, false
	}
	return *credential, true
}

// mayUseECR says whether p has any permission on ECR.
func (i *iam) mayUseECR(p principal) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.grants[p.grantee]) > 0
}

// mayPull says whether p may pull from the registries of an account.
func (i *iam) mayPull(p principal, account string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.grants[p.grantee][account]
}

// assumable returns a role if its trust policy lets p assume it.
func (i *iam) assumable(p principal, arn, externalID string) (awsRole, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	role, ok := i.roles[arn]
	if !ok || role.trust.ExternalID != "" && role.trust.ExternalID != externalID {
		return awsRole{}, false
	}
	return role, slices.ContainsFunc(role.trust.Principals, func(trusted string) bool { return i.means(trusted, p) })
}

// means says whether an entry of a trust policy stands for p. i.mu is held.
func (i *iam) means(trusted string, p principal) bool {
	switch trusted {
	case p.arn, p.grantee, p.account, fmt.Sprintf("arn:%s:iam::%s:root", p.partition, p.account):
		return true
	}
	credential, ok := i.credentials[trusted]
	return ok && credential.owner.arn == p.arn
}

// awsSession is the answer to an assumed role.
type awsSession struct {
	keyID, secret, token string
	expires              time.Time
	roleID               string
	arn                  string
}

// open starts a session of a role.
func (i *iam) open(role awsRole, name string, duration time.Duration) awsSession {
	s := awsSession{
		keyID: randomID("ASIA"), secret: randomSecret(30), token: randomSecret(600),
		expires: i.clock().Add(duration).Truncate(time.Second), // as precise as the answer states it
		roleID:  role.id,
		arn:     fmt.Sprintf("arn:%s:sts::%s:assumed-role/%s/%s", role.arn.partition, role.arn.account, role.arn.name, name),
	}
	i.add(s.keyID, &awsCredential{
		secret: s.secret, token: s.token, expires: s.expires,
		owner: principal{
			partition: role.arn.partition, account: role.arn.account,
			arn: s.arn, grantee: role.arn.String(), session: true,
		},
	})
	i.ledger.issue(s.secret, s.token)
	return s
}

// roleARN is the name of a role, taken apart.
type roleARN struct {
	partition, account, path, name string
}

var roleARNPattern = regexp.MustCompile(`^arn:(aws[a-z-]*):iam::(\d{12}):role/((?:[\w+=,.@-]+/)*)([\w+=,.@-]{1,64})$`)

func parseRoleARN(s string) (roleARN, bool) {
	m := roleARNPattern.FindStringSubmatch(s)
	if m == nil {
		return roleARN{}, false
	}
	return roleARN{partition: m[1], account: m[2], path: m[3], name: m[4]}, true
}

func (a roleARN) String() string {
	return fmt.Sprintf("arn:%s:iam::%s:role/%s%s", a.partition, a.account, a.path, a.name)
}
