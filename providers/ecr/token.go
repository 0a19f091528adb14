package ecr

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/imagepullsecrets/operator/internal/dockerconfig"
	"github.com/imagepullsecrets/operator/providers"
)

// read takes the login out of ECR's answer. It trusts no field to be there:
// an answer of {} is a success to the SDK. proxyEndpoint isn't looked at: it
// names the caller's own account, not the configured one.
func (e exchange) read(output *ecr.GetAuthorizationTokenOutput) (dockerconfig.Login, time.Time, error) {
	if output == nil || len(output.AuthorizationData) == 0 {
		return e.unreadable("holds no authorizationData")
	}
	data := output.AuthorizationData[0]
	switch {
	case data.AuthorizationToken == nil:
		return e.unreadable("holds no authorizationToken")
	case data.ExpiresAt == nil:
		return e.unreadable("holds no expiresAt")
	}
	login, err := parseToken(*data.AuthorizationToken)
	if err != nil {
		return e.unreadable(err.Error())
	}
	if !data.ExpiresAt.After(e.now()) {
		return dockerconfig.Login{}, time.Time{}, e.expired(*data.ExpiresAt)
	}
	return login, *data.ExpiresAt, nil
}

func (e exchange) unreadable(what string) (dockerconfig.Login, time.Time, error) {
	return dockerconfig.Login{}, time.Time{}, providers.Errorf(providers.Transient,
		"%s: the answer %s", e.getToken(), what)
}

// expired is the error for a token that is over when it arrives: either its
// word or this machine's clock is wrong.
func (e exchange) expired(expiresAt time.Time) error {
	class, hint := providers.Transient, ""
	if difference := e.clockDifference(); difference != "" {
		class, hint = providers.ClockSkew, "; "+difference
	}
	return providers.Errorf(class, "%s: the answer's expiresAt, %s, is past%s",
		e.getToken(), expiresAt.UTC().Format(time.RFC3339), hint)
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
