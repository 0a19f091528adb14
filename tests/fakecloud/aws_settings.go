package fakecloud

import (
	"fmt"
	"net/http"
	"time"
)

// awsSettings is what is not as it is by default in the accounts. The zero value
// changes nothing. It is under iam.mu.
type awsSettings struct {
	stsOff      map[accountRegion]bool
	oldestToken map[string]time.Duration // by account
	noBearer    map[string]bool          // grantees
}

func newAWSSettings() awsSettings {
	return awsSettings{stsOff: map[accountRegion]bool{}, oldestToken: map[string]time.Duration{}, noBearer: map[string]bool{}}
}

type accountRegion struct{ account, region string }

// DisableSTS deactivates the Security Token Service in a region for an account: it
// then refuses that account's roles there.
func (c *Cloud) DisableSTS(account, region string) { c.iam.setSTS(account, region, true) }

// EnableSTS undoes [Cloud.DisableSTS].
func (c *Cloud) EnableSTS(account, region string) { c.iam.setSTS(account, region, false) }

func (i *iam) setSTS(account, region string, off bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.settings.stsOff[accountRegion{account, region}] = off
}

// LimitTokenAge makes the roles of an account take only OIDC tokens that were
// issued at most so long ago; 0 brings back the 24 hours of the real service, which
// no token of ten minutes reaches.
func (c *Cloud) LimitTokenAge(account string, oldest time.Duration) {
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	c.iam.settings.oldestToken[account] = oldest
}

// RevokeBearerToken takes sts:GetServiceBearerToken from a user or a role, which
// ECR Public wants beside its own permission. [Cloud.GrantECRPublic] gives both.
func (c *Cloud) RevokeBearerToken(principalARN string) {
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	c.iam.settings.noBearer[principalARN] = true
}

// checkSTS refuses an account's roles where it has deactivated the service.
func (i *iam) checkSTS(account string, at awsEndpoint) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.settings.stsOff[accountRegion{account, at.region}] {
		return nil
	}
	return &stsError{http.StatusForbidden, "RegionDisabledException", fmt.Sprintf("STS is not activated in this region for account:%s. "+
		"Your account administrator can activate STS in this region using the IAM Console.", account)}
}

// maxTokenAge is the oldest that a token for a role of an account may be.
func (i *iam) maxTokenAge(account string) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	if oldest := i.settings.oldestToken[account]; oldest > 0 {
		return oldest
	}
	return maxWebIdentityAge
}

// mayGetBearerToken says whether p has sts:GetServiceBearerToken.
func (i *iam) mayGetBearerToken(p principal) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.settings.noBearer[p.grantee]
}
