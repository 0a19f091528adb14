package fakecloud

import (
	"fmt"
	"net/http"
	"regexp"
)

// DisableIAMCredentials disables the Service Account Credentials API in a project:
// the number of a pool's, or the ID of a cluster's or a service account's. It then
// refuses all identities of that project.
func (c *Cloud) DisableIAMCredentials(project string) { c.google.disable(project, true) }

// EnableIAMCredentials undoes [Cloud.DisableIAMCredentials].
func (c *Cloud) EnableIAMCredentials(project string) { c.google.disable(project, false) }

func (g *google) disable(project string, off bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.disabled[project] = off
}

// googlePrincipalProject finds the project that a principal belongs to.
var googlePrincipalProject = regexp.MustCompile(`^(?:principal://iam\.googleapis\.com/projects/|serviceAccount:(?:[^@]+@)?)([^/.]+)`)

// checkEnabled refuses the identities of a project that has the API disabled.
func (g googleIAM) checkEnabled(principal string) *googleError {
	found := googlePrincipalProject.FindStringSubmatch(principal)
	g.mu.Lock()
	defer g.mu.Unlock()
	if found == nil || !g.disabled[found[1]] {
		return nil
	}
	project := found[1]
	return newGoogleError(http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf("IAM Service Account Credentials API has not been used in project %s "+
		"before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=%[1]s "+
		"then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.", project)).
		because("SERVICE_DISABLED", "googleapis.com", map[string]string{"service": "iamcredentials.googleapis.com", "consumer": "projects/" + project})
}
