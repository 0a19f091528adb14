package fakecloud

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// registryTokenLifetime is how long a token of a registry is good: minutes, as
// those of the real ones.
const registryTokenLifetime = 5 * time.Minute

// registryLogin is what a token of a registry stands for. It is looked at again on
// every request, so that the token dies with the login behind it.
type registryLogin struct {
	host, userName, password string
}

// serveToken exchanges a login for a short token, in both forms that clients use:
// GET with the login in the Authorization header, and the POST of OAuth 2 with the
// login in the form, which containerd tries first.
func (g *registry) serveToken(w http.ResponseWriter, r *http.Request, door doorkeeper) {
	login := registryLogin{host: hostKey(r.Host)}
	switch r.Method {
	case http.MethodGet:
		login.userName, login.password, _ = r.BasicAuth()
	case http.MethodPost:
		r.Body = http.MaxBytesReader(w, r.Body, requestLimit)
		if r.ParseForm() != nil || r.PostForm.Get("grant_type") != "password" {
			sendJSON(w, http.StatusBadRequest, &oauthError{Code: "unsupported_grant_type"})
			return
		}
		login.userName, login.password = r.PostForm.Get("username"), r.PostForm.Get("password")
	default:
		writeRegistryError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	}
	if !door.admits(login.host, login.userName, login.password, nil) {
		writeRegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication failed")
		return
	}
	token := randomSecret(300)
	now := g.tokens.clock().UTC()
	g.tokens.add(token, login, now.Add(registryTokenLifetime))
	sendJSON(w, http.StatusOK, map[string]any{
		"token": token, "access_token": token,
		"expires_in": int(registryTokenLifetime.Seconds()), "issued_at": now.Format(time.RFC3339),
	})
}

// loginOf returns the login of a request to a registry: sent with it, or behind
// the token that was. A token of one host is none at another.
func (g *registry) loginOf(r *http.Request, host string) (userName, password string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return r.BasicAuth()
	}
	login, ok := g.tokens.find(token)
	return login.userName, login.password, ok && login.host == host
}

// path returns where on its own host a realm is, "" if it is on another.
func (c challenge) path(host string) string {
	realm, err := url.Parse(c.realm)
	if err != nil || !strings.EqualFold(hostKey(realm.Host), host) {
		return ""
	}
	return realm.Path
}
