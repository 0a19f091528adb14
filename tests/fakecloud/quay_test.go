package fakecloud_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// exchangeQuay presents a token as the password of a robot.
func exchangeQuay(t *testing.T, cloud *fakecloud.Cloud, method, host, robot, token string) answer {
	t.Helper()
	return send(t, cloud, method, "https://"+host+"/oauth2/federation/robot/token", http.NoBody, basic(robot, token))
}

func federatedQuay(_ *testing.T, cloud *fakecloud.Cloud, i *issuer) federated {
	robot := fakecloud.QuayRobot{Name: "team+puller", Issuer: i.URL, Subject: subject, Audience: "quay.io"}
	cloud.AddQuayRobot(robot)
	robot.Host = "quay.example.com"
	cloud.AddQuayRobot(robot)
	refused := func(part string) refusal { return refusal{http.StatusUnauthorized, `{"error":"` + part} }
	return federated{
		service: fakecloud.Quay, audience: "quay.io",
		exchange: func(t *testing.T, token string) answer {
			return exchangeQuay(t, cloud, http.MethodGet, "quay.io", "team+puller", token)
		},
		userName: "team+puller", password: func(a answer) string { return a.field("token") }, lifetime: time.Hour,
		ref: "quay.io/team/app:v1", foreign: "quay.example.com/team/app:v1",
		problems: map[string]refusal{
			"no token at all":       refused("Token does not contain issuer"),
			"algorithm none":        refused(""),
			"algorithm HS256":       refused("Invalid token: "),
			"an unknown key":        refused("Invalid token: "),
			"a forged signature":    refused("Invalid token: "),
			"expired":               refused("Invalid token: Signature has expired"),
			"not valid yet":         refused("Invalid token: "),
			"an unknown issuer":     refused("issuer https://unknown.example not configured for this robot"),
			"an unreachable issuer": refused("Invalid token: "),
			"another subject":       refused("Token does not match robot"),
			"another audience":      refused("Invalid token: Audience doesn't match"),
		},
		faults: map[fakecloud.FaultKind]refusal{
			fakecloud.Throttle:    {http.StatusTooManyRequests, `{"error":"slow_down"}`},
			fakecloud.ServerError: {http.StatusInternalServerError, `{"error":`},
			fakecloud.Denied:      {http.StatusForbidden, `{"error":`},
		},
	}
}

func TestQuayWantsARobotOfItsOwn(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	f := federatedQuay(t, cloud, i)
	second := newIssuer(t, cloud, clock)
	token := i.token(t, f.audience)

	tests := map[string]struct {
		got  answer
		want int
		part string
	}{
		"a robot of another Quay is served there":  {exchangeQuay(t, cloud, http.MethodGet, "quay.example.com", "team+puller", token), 200, `{"token":"ey`},
		"an unknown robot is refused":              {exchangeQuay(t, cloud, http.MethodGet, "quay.io", "team+other", token), 401, "Could not find robot with username: team+other"},
		"a user is refused":                        {exchangeQuay(t, cloud, http.MethodGet, "quay.io", "team", token), 401, "Invalid robot"},
		"a token without a robot is refused":       {send(t, cloud, http.MethodGet, "https://quay.io/oauth2/federation/robot/token", http.NoBody, http.Header{"Authorization": {"Bearer " + token}}), 401, "Invalid basic auth header"},
		"an issuer of another robot is refused":    {exchangeQuay(t, cloud, http.MethodGet, "quay.io", "team+puller", second.token(t, f.audience)), 401, "not configured for this robot"},
		"POST does not do":                         {exchangeQuay(t, cloud, http.MethodPost, "quay.io", "team+puller", token), 405, ""},
		"another path of the service is not found": {send(t, cloud, http.MethodGet, "https://quay.io/oauth2/token", http.NoBody, nil), 404, ""},
		"any other path is the registry's":         {send(t, cloud, http.MethodGet, "https://quay.io/v2/", http.NoBody, nil), 401, "UNAUTHORIZED"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.got.has(t, tt.want, tt.part) })
	}
}

func TestAQuayRobotWithoutAnAudienceTakesAny(t *testing.T) {
	cloud, clock := start(t)
	i := newIssuer(t, cloud, clock)
	cloud.AddQuayRobot(fakecloud.QuayRobot{Name: "team+puller", Issuer: i.URL, Subject: subject})
	exchangeQuay(t, cloud, http.MethodGet, "quay.io", "team+puller", i.token(t, "whoever")).has(t, http.StatusOK, "token")
}
