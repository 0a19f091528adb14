package gar

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// said is a refusal in Google's words. All may be empty.
type said struct{ code, description string }

// readRefusal reads a refusal in either of Google's forms: OAuth's with a text
// for an error (RFC 6749, section 5.2), or google.rpc.Status with an object,
// of which the details' reason is more telling than the status.
func readRefusal(body []byte) said {
	var outer struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	// What can't be read stays empty, here and below.
	_ = json.Unmarshal(body, &outer)
	var code string
	if json.Unmarshal(outer.Error, &code) == nil {
		return said{code, outer.Description}
	}
	var status struct {
		Status  string `json:"status"`
		Message string `json:"message"`
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	_ = json.Unmarshal(outer.Error, &status)
	for _, detail := range status.Details {
		if detail.Reason != "" {
			return said{detail.Reason, status.Message}
		}
	}
	return said{status.Status, status.Message}
}

// refused is the error for an answer that is no success. An answer without
// any code is not Google's, unless its status says enough.
func (f fetch) refused(c exchange.Call, answer exchange.Answer, verdicts []verdict) error {
	said := readRefusal(answer.Body)
	class := exchange.ClassOfStatus(answer.Status)
	if said.code == "" && class != providers.Throttled {
		return c.Unreadable(answer.Status, answer.Header, nil)
	}
	refusal := exchange.Refusal{Class: class, Code: said.code, Description: said.description}
	// What is a matter of load is none of the configuration, whatever the code.
	if class != providers.Throttled && class != providers.Transient {
		refusal.Class, refusal.Hint = judge(said, class, verdicts)
	}
	return c.Refused(answer, refusal, f.scrub)
}

// verdict is what a refusal means here.
type verdict struct {
	// code is Google's; empty stands for any.
	code string
	// text is part of the description: Google puts several causes under one
	// code.
	text  string
	class providers.Class
	// hint says what to do.
	hint string
}

// judge returns what the first verdict that fits says.
func judge(said said, otherwise providers.Class, verdicts []verdict) (providers.Class, string) {
	for _, v := range verdicts {
		if (v.code == "" || v.code == said.code) && strings.Contains(said.description, v.text) {
			return v.class, v.hint
		}
	}
	return otherwise, ""
}

// exchangeVerdicts are those on refusals of the token exchange. issuer is the
// token's, as far as it is known.
func (f fetch) exchangeVerdicts(issuer string) []verdict {
	where := "the workload identity provider"
	exists := "check that the pool and the provider of workloadIdentityProvider exist and are enabled"
	keys := "upload this cluster's present keys to the provider (kubectl get --raw /openid/v1/jwks)"
	if f.config.GKECluster != "" {
		where = "the cluster's pool"
		exists = "check gkeCluster, and that workload identity federation is enabled for the cluster"
		keys = "gkeCluster must be this cluster"
	}
	trust := "let " + where
	subject := f.config.ServiceAccount.Subject()
	return []verdict{
		{"SERVICE_DISABLED", "", providers.Denied, "enable sts.googleapis.com in the pool's project"},
		{"invalid_target", "", providers.Invalid, exists},
		{"", "mapped attribute", providers.Invalid, fmt.Sprintf("%s must map google.subject to at most 127 bytes; "+
			"a shorter namespace or name of ServiceAccount %s would do", where, f.config.ServiceAccount)},
		{"unauthorized_client", "attribute condition", providers.Denied,
			fmt.Sprintf("let the attribute condition of %s admit assertion.sub == '%s'", where, subject)},
		{"invalid_grant", "connecting to the given credential's issuer", providers.Transient,
			"Google must reach this cluster's issuer, or " + keys},
		{"invalid_grant", "audience", providers.Invalid,
			fmt.Sprintf("%s allow the audience %s, or set audience to one that it allows", trust, f.pool.audience)},
		{"invalid_grant", "issuer", providers.Invalid, fmt.Sprintf("%s trust this cluster's issuer %s", trust, shown(issuer))},
		{"invalid_grant", "signature", providers.Denied, keys},
		{"invalid_grant", "", providers.Denied, fmt.Sprintf("%s trust issuer %s, audience %s and subject %s, by the cluster's present keys",
			trust, shown(issuer), f.pool.audience, subject)},
		{"invalid_request", "audience", providers.Invalid, exists + ", and that it names the project's number"},
		{"unauthorized_client", "", providers.Denied, fmt.Sprintf("%s trust subject %s", trust, subject)},
	}
}

// impersonationVerdicts are those on refusals of IAM Credentials.
func (f fetch) impersonationVerdicts() []verdict {
	account := f.config.GoogleServiceAccount
	return []verdict{
		{"SERVICE_DISABLED", "", providers.Denied, "enable iamcredentials.googleapis.com in the project that is named"},
		{"IAM_PERMISSION_DENIED", "", providers.Denied, f.missingRole()},
		{"PERMISSION_DENIED", "", providers.Denied, f.missingRole()},
		{"NOT_FOUND", "", providers.Invalid, "check that the Google service account " + account + " exists"},
		{"INVALID_ARGUMENT", "", providers.Invalid, "check googleServiceAccount and delegates"},
	}
}

// missingRole says which role to grant on each account on the way.
func (f fetch) missingRole() string {
	chain := append(append([]string{}, f.config.Delegates...), f.config.GoogleServiceAccount)
	const creator = "roles/iam.serviceAccountTokenCreator"
	role, who := "roles/iam.workloadIdentityUser", f.pool.member()
	switch {
	case f.config.Ambient:
		role, who = creator, "the operator's own Google identity"
	case len(f.config.Delegates) > 0:
		role = creator // the other lacks iam.serviceAccounts.implicitDelegation
	}
	hint := fmt.Sprintf("grant %s on %s to %s", role, chain[0], who)
	for i, account := range chain[1:] {
		hint += fmt.Sprintf(", %s on %s to %s", creator, account, chain[i])
	}
	return hint
}
