package fakecloud

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	metadataFlavor   = "Metadata-Flavor"
	metadataProject  = "fakecloud"
	metadataAccounts = "/computeMetadata/v1/instance/service-accounts/"
)

// MetadataServerEnv returns the environment variable, as KEY=value, by which a child
// process finds access tokens of a service account, as a process does on a machine
// of Google whose account that is. The account need not be added. The endpoint
// serves until [Cloud.Stop].
func (c *Cloud) MetadataServerEnv(email string) []string {
	return []string{"GCE_METADATA_HOST=" + c.serveAmbient(metadataServer{google: c.google, email: email}.handler())}
}

// metadataServer is the metadata server of a machine of Google.
type metadataServer struct {
	google *google
	email  string
}

func (m metadataServer) handler() http.Handler {
	mux := http.NewServeMux()
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	mux.HandleFunc("GET /{$}", text("computeMetadata/\n"))
	mux.HandleFunc("GET /computeMetadata/v1/universe/universe-domain", text(googleUniverse))
	mux.HandleFunc("GET /computeMetadata/v1/project/project-id", text(metadataProject))
	mux.HandleFunc("GET /computeMetadata/v1/project/numeric-project-id", text("123456789012"))
	mux.HandleFunc("GET "+metadataAccounts+"{$}", text("default/\n"+m.email+"/\n"))
	mux.HandleFunc("GET "+metadataAccounts+"{account}/email", m.ofAccount(text(m.email)))
	mux.HandleFunc("GET "+metadataAccounts+"{account}/scopes", m.ofAccount(text(googleScope+"\n")))
	mux.HandleFunc("GET "+metadataAccounts+"{account}/token", m.ofAccount(m.serveToken))
	return flavored(mux)
}

// flavored refuses the requests that a page in a browser could be made to send.
func flavored(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(metadataFlavor, "Google")
		w.Header().Set("Server", "Metadata Server for VM")
		if r.URL.Path != "/" && r.Header.Get(metadataFlavor) != "Google" || r.Header.Get("X-Forwarded-For") != "" {
			http.Error(w, fmt.Sprintf("Missing required header %q: \"Google\"", metadataFlavor), http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// ofAccount serves the machine's account only, under both of its names.
func (m metadataServer) ofAccount(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if account := r.PathValue("account"); account != "default" && account != m.email {
			http.NotFound(w, r)
			return
		}
		handler(w, r)
	}
}

// serveToken issues an access token, for the scopes that are asked for or for all.
func (m metadataServer) serveToken(w http.ResponseWriter, r *http.Request) {
	scopes := strings.Split(cmp.Or(r.URL.Query().Get("scopes"), googleScope), ",")
	token, _ := m.google.issue(googleAccess{"serviceAccount:" + m.email, googleUniverse, scopes}, googleTokenLifetime)
	sendJSON(w, http.StatusOK, map[string]any{
		"access_token": token, "expires_in": int(m.google.tokens.lifetime(googleTokenLifetime).Seconds()), "token_type": "Bearer",
	})
}
