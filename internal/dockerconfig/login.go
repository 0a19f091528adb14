package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// entry is an entry of auths, as far as it matters. The tokens may be of any
// type, because the kubelet does not look at them.
type entry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken any    `json:"identitytoken"`
	RegistryToken any    `json:"registrytoken"`
}

// hasToken reports whether the entry is for tools that know tokens.
func (e entry) hasToken() bool {
	return e.IdentityToken != nil && e.IdentityToken != "" ||
		e.RegistryToken != nil && e.RegistryToken != ""
}

// readLogin returns the login that the kubelet computes from an entry, or
// what is wrong with it; the error holds no part of the entry.
func readLogin(raw json.RawMessage) (Login, error) {
	var e entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return Login{}, errors.New("it must be a JSON object whose username, password and auth are strings")
	}
	login := Login{Username: e.Username, Password: e.Password}
	if e.Auth != "" {
		var err error
		if login, err = decodeAuth(e.Auth); err != nil {
			return Login{}, err
		}
	}
	if err := checkLogin(login, e.hasToken()); err != nil {
		return Login{}, err
	}
	return login, nil
}

// checkLogin says why the kubelet could not pull with a login.
func checkLogin(login Login, hasToken bool) error {
	switch {
	// A registry's login command may store a token beside a user without a
	// password.
	case login.Password == "" && hasToken:
		return errors.New("it holds only an identity or registry token, which the kubelet ignores; give a username and a password")
	case login == Login{}:
		return errors.New("it holds no login, so that the kubelet would pull anonymously; give a username and a password (a workstation's credential helper keeps them out of the file)")
	case login.Username == "":
		return errors.New("it holds no user name, without which container runtimes pull anonymously; give the one that the registry documents for its tokens")
	// The kubelet hands logins to the container runtime in protobuf strings.
	case !utf8.ValidString(login.Username), !utf8.ValidString(login.Password):
		return errors.New("its user name or password is not UTF-8, so that the kubelet can't hand it to the container runtime; encode it again")
	}
	return nil
}

// decodeAuth decodes an entry's auth, which wins over username and password.
// Padding may be absent and line breaks are skipped; everything else that
// standard base64 does not know is an error, as it is for the kubelet.
func decodeAuth(auth string) (Login, error) {
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(strings.TrimSpace(auth), "=") {
		encoding = base64.StdEncoding
	}
	decoded, err := encoding.DecodeString(auth)
	if err != nil {
		if strings.ContainsAny(auth, "-_") {
			return Login{}, errors.New("its auth is URL-safe base64, which the kubelet can't decode; write <username>:<password> in standard base64")
		}
		return Login{}, errors.New("its auth is not base64; write <username>:<password> in standard base64")
	}
	username, password, found := strings.Cut(string(decoded), ":")
	if !found {
		return Login{}, errors.New(`its auth holds no ":"; write <username>:<password> in standard base64`)
	}
	return Login{Username: username, Password: password}, nil
}
