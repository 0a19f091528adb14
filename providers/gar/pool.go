package gar

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/imagepullsecrets/operator/internal/exchange"
)

// pool is a workload identity pool by the names that it has in an exchange.
// They are easily confused.
type pool struct {
	// audience is who the ServiceAccount's token is for: its aud.
	audience string
	// request is the audience that the token exchange is asked for.
	request string
	// members is what a member's name in an IAM policy begins with, and
	// memberEnd what it ends with.
	members, memberEnd string
	// subject is how the pool names the ServiceAccount.
	subject string
}

// member is the ServiceAccount as an IAM policy names it.
func (p pool) member() string { return p.members + p.subject + p.memberEnd }

// iamService begins full resource names of IAM, in every universe.
const iamService = "//iam.googleapis.com/"

var (
	providerPattern = regexp.MustCompile(`^projects/([^/]+)/locations/global/workloadIdentityPools/([a-z0-9-]{4,32})/providers/[a-z0-9-]{4,32}$`)
	clusterPattern  = regexp.MustCompile(`^projects/([a-z][a-z0-9-]{4,28}[a-z0-9])/locations/[a-z0-9-]{1,63}/clusters/[a-z0-9-]{1,63}$`)
	numberPattern   = regexp.MustCompile(`^[0-9]{1,20}$`)
)

// findPool returns the pool that the configuration names, empty if it names
// none, and notes what is wrong with the name.
func (c Config) findPool(problems *exchange.Problems) pool {
	switch {
	case c.WorkloadIdentityProvider != "":
		return c.ownPool(problems)
	case c.GKECluster != "":
		return c.clusterPool(problems)
	}
	return pool{}
}

// ownPool is a pool that somebody made for the cluster.
func (c Config) ownPool(problems *exchange.Problems) pool {
	name := strings.TrimPrefix(c.WorkloadIdentityProvider, "https:")
	name = strings.TrimPrefix(name, iamService)
	parts := providerPattern.FindStringSubmatch(name)
	if parts == nil {
		problems.Notef("workloadIdentityProvider must be projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>, not %s",
			shown(c.WorkloadIdentityProvider))
		return pool{}
	}
	if project := parts[1]; !numberPattern.MatchString(project) {
		problems.Notef("workloadIdentityProvider must name the project by its number, not by its id %s "+
			"(gcloud projects describe <id> --format='value(projectNumber)')", shown(project))
		return pool{}
	}
	trusted := pool{
		audience: "https:" + iamService + name,
		request:  iamService + name,
		members: fmt.Sprintf("principal:%sprojects/%s/locations/global/workloadIdentityPools/%s/subject/",
			iamService, parts[1], parts[2]),
		subject: c.ServiceAccount.Subject(),
	}
	if c.Audience != "" {
		trusted.audience = c.Audience
	}
	return trusted
}

// clusterPool is the pool that GKE keeps for all clusters of a project.
func (c Config) clusterPool(problems *exchange.Problems) pool {
	parts := clusterPattern.FindStringSubmatch(c.GKECluster)
	switch {
	case parts == nil:
		problems.Notef("gkeCluster must be projects/<id>/locations/<location>/clusters/<name>, with the project's id and not its number, not %s",
			shown(c.GKECluster))
		return pool{}
	case c.UniverseDomain != googleUniverse:
		problems.Notef("gkeCluster is for universe googleapis.com only: set workloadIdentityProvider")
		return pool{}
	}
	identities := parts[1] + ".svc.id.goog"
	return pool{
		audience:  identities,
		request:   fmt.Sprintf("identitynamespace:%s:https://container.googleapis.com/v1/%s", identities, c.GKECluster),
		members:   fmt.Sprintf("serviceAccount:%s[", identities),
		subject:   c.ServiceAccount.String(),
		memberEnd: "]",
	}
}
