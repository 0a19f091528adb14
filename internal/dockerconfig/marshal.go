package dockerconfig

import (
	"encoding/base64"
	"strings"
)

// writtenEntry is an entry as Marshal writes it.
type writtenEntry struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Auth     string `json:"auth,omitempty"`
}

// Marshal writes logins as a dockerconfigjson. Equal logins give equal bytes,
// whatever the order in which they were put in. Parse reads the same logins
// back, if it would accept their keys.
func Marshal(logins Logins) []byte {
	auths := make(map[string]writtenEntry, len(logins))
	for key, login := range logins {
		auths[key] = written(login)
	}
	return encode(map[string]any{"auths": auths})
}

func written(login Login) writtenEntry {
	return writtenEntry{Username: login.Username, Password: login.Password, Auth: encodeAuth(login)}
}

// encodeAuth returns a login's auth. There is none for a user name with a
// colon, which readers would split in the wrong place; without auth they take
// username and password as they stand.
func encodeAuth(login Login) string {
	if strings.Contains(login.Username, ":") {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(login.Username + ":" + login.Password))
}
