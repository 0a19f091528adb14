package awsidentity

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/internal/exchange"
	"github.com/imagepullsecrets/operator/providers"
)

// Login takes the login out of the authorization data that a registry service
// answered to the latest call. It trusts no field to be there.
func (e *Exchange) Login(call Call, token *string, expiresAt *time.Time) (providers.Credential, error) {
	switch {
	case token == nil:
		return providers.Credential{}, call.Errorf(providers.Transient, "the answer holds no authorizationToken")
	case expiresAt == nil:
		return providers.Credential{}, call.Errorf(providers.Transient, "the answer holds no expiresAt")
	}
	login, err := parseToken(*token)
	if err != nil {
		return providers.Credential{}, call.Errorf(providers.Transient, "the answer %v", err)
	}
	if err := call.CheckToken(login.Password); err != nil {
		return providers.Credential{}, err
	}
	return call.Credential(exchange.Answer{Header: e.http.header}, login, *expiresAt, e.now(), whose)
}

// parseToken takes an authorization token apart: the base64 of user, colon and
// password, where the password may hold colons. Errors don't quote it.
func parseToken(token string) (dockerconfig.Login, error) {
	decoded, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return dockerconfig.Login{}, errors.New("has an authorizationToken that is not base64")
	}
	username, password, found := strings.Cut(string(decoded), ":")
	if !found {
		return dockerconfig.Login{}, errors.New("has an authorizationToken without a colon between user and password")
	}
	if username == "" || password == "" {
		return dockerconfig.Login{}, errors.New("has an authorizationToken with an empty user or password")
	}
	return dockerconfig.Login{Username: username, Password: password}, nil
}
