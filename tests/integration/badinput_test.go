package integration

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// The registries of the sources: the good one's, and those of the one that a
// test spoils.
const (
	goodRegistry  = "good.example.com"
	otherRegistry = "other.example.com"
)

// badSource is a source that can't be used, or not all of it.
type badSource struct {
	kind corev1.SecretType
	data map[string]string
	// reason and says are what people are told.
	reason, says string
	// works are the registries that it gives a login for all the same.
	works []string
}

// Sources that are wrong in themselves. What the API server refuses in a
// dockerconfigjson is not among them.
var badSources = map[string]func(*testing.T) badSource{
	"a document that is null": document(`null`, v1alpha1.ReasonSourceInvalid, "key .dockerconfigjson: not a JSON object"),
	"auths that is a list":    document(`{"auths":[]}`, v1alpha1.ReasonSourceInvalid, `key .dockerconfigjson: "auths" is not a JSON object`),
	"auths that is a text":    document(`{"auths":"x"}`, v1alpha1.ReasonSourceInvalid, `key .dockerconfigjson: "auths" is not a JSON object`),
	"no auths at all":         document(`{"credsStore":"desktop"}`, v1alpha1.ReasonSourceInvalid, "holds no login"),
	"auths without an entry":  document(`{"auths":{}}`, v1alpha1.ReasonSourceInvalid, "holds no login"),

	"an entry without colon":             entry("bad.example.com", `{"auth":"`+encoded("robot")+`"}`, `entry "bad.example.com": its auth holds no ":"`),
	"an entry that is no base64":         entry("bad.example.com", `{"auth":"%%%"}`, `entry "bad.example.com": its auth is not base64`),
	"an entry in URL-safe base64":        entry("bad.example.com", `{"auth":"__--"}`, `entry "bad.example.com": its auth is URL-safe base64`),
	"an entry with an identity token":    entry("bad.example.com", `{"identitytoken":"x"}`, "holds only an identity or registry token, which the kubelet ignores"),
	"an entry without anything":          entry("bad.example.com", `{}`, "it holds no login, so that the kubelet would pull anonymously"),
	"an entry without user":              entry("bad.example.com", `{"password":"x"}`, "it holds no user name"),
	"an entry that is a text":            entry("bad.example.com", `"robot:x"`, "it must be a JSON object whose username, password and auth are strings"),
	"an entry that is not UTF-8":         entry("bad.example.com", `{"auth":"`+encoded("robot:\xff\xfe")+`"}`, "is not UTF-8"),
	"a key in upper case":                entry("Bad.example.com", `{"username":"a","password":"b"}`, `registry hosts are lower case for the kubelet; write "bad.example.com"`),
	"a key without a dot":                entry("bad", `{"username":"a","password":"b"}`, "a registry's host has a dot or a port, or is localhost"),
	"a key of another scheme":            entry("oci://bad.example.com", `{"username":"a","password":"b"}`, `the kubelet knows no scheme but "https://" and "http://"; write "bad.example.com"`),
	"a key with a wildcard in its path":  entry("bad.example.com/team-*", `{"username":"a","password":"b"}`, `"*" works only in the host; write "bad.example.com"`),
	"a key with an umlaut":               entry("bäd.example.com", `{"username":"a","password":"b"}`, "write an international host in its xn-- form"),
	"an empty key":                       entry("", `{"username":"a","password":"b"}`, "the key is empty"),
	"two keys for one registry":          entry("https://"+otherRegistry, `{"username":"a","password":"b"}`, `the entry "other.example.com" is for the same registry and is used instead`),
	"a dockercfg that is not an object":  dockercfg(`null`, v1alpha1.ReasonSourceInvalid, "key .dockercfg: not a JSON object"),
	"a dockercfg with an entry too many": dockercfg(`{"bad.example.com":{"auth":"%"}}`, v1alpha1.ReasonEntryLeftOut, `entry "bad.example.com": its auth is not base64`),

	"Opaque with a dockerconfigjson": func(*testing.T) badSource {
		content, _ := dockerConfig(otherRegistry)
		return badSource{kind: corev1.SecretTypeOpaque, data: pairs([]string{corev1.DockerConfigJsonKey, content}), reason: v1alpha1.ReasonSourceInvalid,
			says: `Secret type "Opaque" is not supported; supported are kubernetes.io/dockerconfigjson, kubernetes.io/dockercfg and banzaicloud.io/aws-ecr-login-config; ` +
				"by its keys it should be of type kubernetes.io/dockerconfigjson"}
	},
	"Opaque with access keys": func(t *testing.T) badSource {
		return badSource{kind: corev1.SecretTypeOpaque, data: newECRAccount(t).data(), reason: v1alpha1.ReasonSourceInvalid,
			says: "by its keys it should be of type banzaicloud.io/aws-ecr-login-config: delete it and create it again with that type"}
	},
	"basic-auth": func(*testing.T) badSource {
		return badSource{kind: corev1.SecretTypeBasicAuth, data: pairs([]string{"username", "robot", "password", password()}),
			reason: v1alpha1.ReasonSourceInvalid, says: `Secret type "kubernetes.io/basic-auth" is not supported`}
	},

	"access keys without region":      keys("region", "", v1alpha1.ReasonSourceInvalid, "missing or empty: region"),
	"access keys with an empty ID":    keys("accessKeyID", "\n", v1alpha1.ReasonSourceInvalid, "missing or empty: accessKeyID"),
	"an account of too few digits":    keys("accountID", "12345", v1alpha1.ReasonSourceInvalid, `accountID must match ^\d{12}$, not "12345"`),
	"a region that is a city":         keys("region", "Frankfurt", v1alpha1.ReasonSourceInvalid, "region must match"),
	"a role written otherwise":        keys("rolearn", "arn:aws:iam::111122223333:role/pull", v1alpha1.ReasonSourceInvalid, `key "rolearn" must be written roleArn`),
	"a role that is none":             keys("roleArn", "pull", v1alpha1.ReasonSourceInvalid, "roleArn must be a role's ARN"),
	"a role of another partition":     keys("roleArn", "arn:aws-cn:iam::111122223333:role/pull", v1alpha1.ReasonSourceInvalid, `roleArn is of partition "aws-cn", but region eu-central-1 is of partition aws`),
	"a role that trusts nobody":       keys("roleArn", "arn:aws:iam::111122223333:role/nobody", v1alpha1.ReasonDenied, "let the trust policy of arn:aws:iam::111122223333:role/nobody name the access key's user"),
	"an access key that is not known": keys("accessKeyID", "AKIAIOSFODNN7EXAMPLE", v1alpha1.ReasonDenied, "the access key is unknown, inactive or of another partition"),
	"a secret key of another":         keys("secretKey", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", v1alpha1.ReasonDenied, "secretKey does not belong to accessKeyID"),
	"a region of another partition":   keys("region", "cn-north-1", v1alpha1.ReasonDenied, "the access key is unknown, inactive or of another partition"),
	"a region that nothing answers":   keys("region", "xx-nowhere-1", v1alpha1.ReasonUnavailable, "ecr:GetAuthorizationToken at api.ecr.xx-nowhere-1.amazonaws.com: the proxy refused to connect"),
	"access keys without permission": func(t *testing.T) badSource {
		account := newECRAccount(t)
		shared.cloud.RevokeECR(account.Key.UserARN)
		return badSource{kind: v1alpha1.SecretTypeECR, data: account.data(), reason: v1alpha1.ReasonDenied,
			says: "grant ecr:GetAuthorizationToken on resource * to the access key's user"}
	},
}

// document is a dockerconfigjson that is of no use.
func document(content, reason, says string) func(*testing.T) badSource {
	return func(*testing.T) badSource {
		return badSource{
			kind: corev1.SecretTypeDockerConfigJson, data: pairs([]string{corev1.DockerConfigJsonKey, content}),
			reason: reason, says: says,
		}
	}
}

// entry is a dockerconfigjson with an entry that is left out, beside one that
// works.
func entry(key, value, says string) func(*testing.T) badSource {
	return func(*testing.T) badSource {
		made := document(twoEntries(key, value), v1alpha1.ReasonEntryLeftOut, says)(nil)
		made.works = []string{otherRegistry}
		return made
	}
}

// twoEntries is a dockerconfigjson with a login for otherRegistry and another
// entry.
func twoEntries(key, value string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q},%q:%s}}`, otherRegistry, encoded("robot:"+password()), key, value)
}

func dockercfg(content, reason, says string) func(*testing.T) badSource {
	return func(*testing.T) badSource {
		return badSource{kind: corev1.SecretTypeDockercfg, data: pairs([]string{corev1.DockerConfigKey, content}), reason: reason, says: says}
	}
}

// keys are access keys of which one is not as it should be; an empty value
// takes it away.
func keys(key, value, reason, says string) func(*testing.T) badSource {
	return func(t *testing.T) badSource {
		data := newECRAccount(t).data()
		data[key] = value
		maps.DeleteFunc(data, func(_, value string) bool { return value == "" })
		return badSource{kind: v1alpha1.SecretTypeECR, data: data, reason: reason, says: says}
	}
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestBadSourcesAreToldAndTheRestWorks(t *testing.T) {
	for sentence, bad := range badSources {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			bad, label := bad(t), unique("label")
			home, selected := namespace(t), namespace(t, label, "yes")
			ref := source(t, home, bad.kind, bad.data)
			name := object(t, "pull", label, ref, staticSource(t, home, goodRegistry)).Name

			expectSecret(t, selected, "pull", append(bad.works, goodRegistry)...)
			expectFailedSource(t, name, ref, bad.reason, bad.says)
			expectWell(t, name, 1, goodRegistry)
			expectCondition(t, name, v1alpha1.ConditionTargetsReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			expectSecret(t, selected, "pull", append(bad.works, goodRegistry)...)
		})
	}
}

func TestBadSourceAloneWritesNothingAndSaysSo(t *testing.T) {
	for sentence, bad := range map[string]func(*testing.T) badSource{
		"malformed":       document(`null`, "", ""),
		"without a login": document(`{"auths":{}}`, "", ""),
		"a key missing":   keys("region", "", "", ""),
	} {
		t.Run(sentence, func(t *testing.T) {
			bad, label := bad(t), unique("label")
			selected := namespace(t, label, "yes")
			name := object(t, "pull", label, source(t, selected, bad.kind, bad.data)).Name
			expectCondition(t, name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSourceInvalid)
			expectCondition(t, name, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSourceInvalid)
			expectNoSecret(t, selected, "pull")
		})
	}
}

// expectFailedSource waits until everything that tells of a failed source does
// so: the conditions, the source's own status, IMPS's fields and an event.
func expectFailedSource(t *testing.T, name string, ref v1alpha1.CredentialSource, reason, says string) {
	t.Helper()
	expectSaying(t, name, v1alpha1.ConditionCredentialsReady, reason, says)
	expectSaying(t, name, v1alpha1.ConditionReady, reason, says)
	status := get(t, name).Status
	told := false
	for _, credential := range status.Credentials {
		if credential.Name == ref.Namespace+"/"+ref.Name {
			told = credential.Ready == metav1.ConditionFalse && credential.Reason == reason && strings.Contains(credential.Message, says)
		}
	}
	if !told {
		t.Errorf("the credentials' status is %+v", status.Credentials)
	}
	if status.Status != v1alpha1.StatusFailed || !strings.Contains(status.Reason, says) ||
		!strings.Contains(status.SourceSecretStatus[ref.Namespace+"."+ref.Name], says) {
		t.Errorf("IMPS's fields are %q, %q, %v", status.Status, status.Reason, status.SourceSecretStatus)
	}
	expectWarning(t, name, reason, says)
	expectNoLeak(t, name)
}

// expectSaying waits until a condition is False for a reason and says words.
func expectSaying(t *testing.T, name, condition, reason string, says ...string) {
	t.Helper()
	message := expectCondition(t, name, condition, metav1.ConditionFalse, reason)
	for _, words := range says {
		if !strings.Contains(message, words) {
			t.Errorf("%s says %q and not %q", condition, message, words)
		}
	}
}

// expectWell waits until a source, by its place in the spec, gives logins for
// exactly these registries.
func expectWell(t *testing.T, name string, place int, registries ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("source %d of %s in use", place, name), func() error {
		credential := get(t, name).Status.Credentials[place]
		if credential.Ready != metav1.ConditionTrue || !slices.Equal(credential.Registries, registries) {
			return fmt.Errorf("its status is %+v", credential)
		}
		return nil
	})
}

// expectWarning waits until a warning about an object has a reason and words.
func expectWarning(t *testing.T, name, reason, says string) {
	t.Helper()
	eventually(t, fmt.Sprintf("warning %s about %s saying %q", reason, name, says), func() error {
		for _, event := range eventsAbout(t, name) {
			if event.Reason == reason && event.Type == corev1.EventTypeWarning && strings.Contains(event.Note, says) {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func eventsAbout(t *testing.T, name string) []eventsv1.Event {
	t.Helper()
	var list eventsv1.EventList
	if err := shared.api.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var about []eventsv1.Event
	for _, event := range list.Items {
		if event.Regarding.Name == name && event.Regarding.Kind == v1alpha1.Kind {
			about = append(about, event)
		}
	}
	return about
}

// expectNoLeak checks that no secret stands in an object or its events.
func expectNoLeak(t *testing.T, name string) {
	t.Helper()
	seen, err := json.Marshal([]any{get(t, name), eventsAbout(t, name)})
	if err != nil {
		t.Fatal(err)
	}
	if leaks := leaked(string(seen)); len(leaks) > 0 {
		t.Errorf("%d secrets stand in %s or its events", len(leaks), name)
	}
}

func TestBadNoCredentialsAtAll(t *testing.T) {
	label := unique("label")
	selected := namespace(t, label, "yes")
	name := object(t, "pull", label).Name
	expectSaying(t, name, v1alpha1.ConditionReady, v1alpha1.ReasonNoCredentials, "spec.registry.credentials is empty: name at least one source")
	expectCondition(t, name, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonNoCredentials)
	expectWarning(t, name, v1alpha1.ReasonNoCredentials, "spec.registry.credentials is empty")
	expectNoSecret(t, selected, "pull")
}

func TestBadMissingSourceIsFoundWhenItComes(t *testing.T) {
	label := unique("label")
	home, selected := namespace(t), namespace(t, label, "yes")
	missing := v1alpha1.CredentialSource{Namespace: home, Name: unique("missing")}
	name := object(t, "pull", label, missing, staticSource(t, home, goodRegistry)).Name
	expectSecret(t, selected, "pull", goodRegistry)
	expectFailedSource(t, name, missing, v1alpha1.ReasonSourceNotFound,
		fmt.Sprintf("Secret %s/%s does not exist: create it, or correct the name and namespace in spec.registry.credentials", home, missing.Name))

	makeSource(t, missing, otherRegistry)
	expectSecret(t, selected, "pull", goodRegistry, otherRegistry)
	expectReady(t, name, 1)
}

func TestBadRenamedSourceKeepsItsLogins(t *testing.T) {
	label := unique("label")
	home, selected := namespace(t), namespace(t, label, "yes")
	before, after := staticSource(t, home, otherRegistry), v1alpha1.CredentialSource{Namespace: home, Name: unique("renamed")}
	name := object(t, "pull", label, before, staticSource(t, home, goodRegistry)).Name
	stood := expectSecret(t, selected, "pull", goodRegistry, otherRegistry)
	expectReady(t, name, 1)

	makeSource(t, after, otherRegistry)
	deleteSource(t, before)
	expectFailedSource(t, name, before, v1alpha1.ReasonSourceNotFound, "does not exist")
	expectSaying(t, name, v1alpha1.ConditionReady, v1alpha1.ReasonSourceNotFound, "; its last known logins stay in use")
	expectUntouched(t, stood)
	later := namespace(t, label, "yes")
	expectSecret(t, later, "pull", goodRegistry, otherRegistry)

	update(t, name, func(object *v1alpha1.ImagePullSecret) { object.Spec.Registry.Credentials[0] = after })
	expectReady(t, name, 2)
	expectSecret(t, selected, "pull", goodRegistry, otherRegistry)
}

// makeSource makes a source Secret of a given name with a login.
func makeSource(t *testing.T, ref v1alpha1.CredentialSource, host string) {
	t.Helper()
	content, _ := dockerConfig(host)
	create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name},
		Type:       corev1.SecretTypeDockerConfigJson, StringData: pairs([]string{corev1.DockerConfigJsonKey, content}),
	})
}

func deleteSource(t *testing.T, ref v1alpha1.CredentialSource) {
	t.Helper()
	if err := shared.api.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}); err != nil {
		t.Fatal(err)
	}
}

// expectUntouched checks that nobody wrote a Secret since it was read.
func expectUntouched(t *testing.T, stood *corev1.Secret) {
	t.Helper()
	now, err := secretIn(t, stood.Namespace, stood.Name)
	if err != nil {
		t.Fatal(err)
	}
	if now.ResourceVersion != stood.ResourceVersion {
		t.Errorf("Secret %s/%s changed: labels %v, owners %v, keys of data %d", now.Namespace, now.Name, now.Labels, now.OwnerReferences, len(now.Data))
	}
}

// Changes of a good source's Secret that make it useless.
var spoilings = map[string]struct {
	data         map[string]string
	reason, says string
}{
	"malformed":        {pairs([]string{corev1.DockerConfigJsonKey, `{"auths":7}`}), v1alpha1.ReasonSourceInvalid, `"auths" is not a JSON object`},
	"emptied":          {pairs([]string{corev1.DockerConfigJsonKey, `{"auths":{}}`}), v1alpha1.ReasonSourceInvalid, "holds no login"},
	"its entry broken": {pairs([]string{corev1.DockerConfigJsonKey, `{"auths":{"other.example.com":{"auth":"%"}}}`}), v1alpha1.ReasonEntryLeftOut, "is not base64"},
}

func TestBadChangesOfASourceLeaveItsLogins(t *testing.T) {
	for sentence, spoiling := range spoilings {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			label := unique("label")
			home, selected := namespace(t), namespace(t, label, "yes")
			ref := staticSource(t, home, otherRegistry)
			name := object(t, "pull", label, staticSource(t, home, goodRegistry), ref).Name
			stood := expectSecret(t, selected, "pull", goodRegistry, otherRegistry)
			expectReady(t, name, 1)

			changeSource(t, ref, spoiling.data)
			expectFailedSource(t, name, ref, spoiling.reason, spoiling.says)
			expectSaying(t, name, v1alpha1.ConditionReady, spoiling.reason, "its last known logins stay in use")
			expectUntouched(t, stood)
		})
	}
}

// changeSource sets keys of a source Secret; an empty value takes a key away.
func changeSource(t *testing.T, ref v1alpha1.CredentialSource, data map[string]string) {
	t.Helper()
	secret, err := secretIn(t, ref.Namespace, ref.Name)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range data {
		secret.Data[key] = []byte(value)
		if value == "" {
			delete(secret.Data, key)
		}
	}
	if err := shared.api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

func TestBadEntryDoesNotHoldItsNeighbourBack(t *testing.T) {
	label := unique("label")
	home, selected := namespace(t), namespace(t, label, "yes")
	ref := source(t, home, corev1.SecretTypeDockerConfigJson, pairs([]string{
		corev1.DockerConfigJsonKey, twoEntries("bad.example.com", `{"username":"robot","password":"`+password()+`"}`),
	}))
	name := object(t, "pull", label, ref).Name
	before := loginsIn(t, expectSecret(t, selected, "pull", "bad.example.com", otherRegistry))
	expectReady(t, name, 1)

	changeSource(t, ref, pairs([]string{corev1.DockerConfigJsonKey, twoEntries("bad.example.com", `{"auth":"%"}`)}))
	expectFailedSource(t, name, ref, v1alpha1.ReasonEntryLeftOut, `entry "bad.example.com": its auth is not base64`)
	eventually(t, "the other entry's new login", func() error {
		secret, err := secretIn(t, selected, "pull")
		if err == nil && loginsIn(t, secret).Auths[otherRegistry] == before.Auths[otherRegistry] {
			err = errors.New("it is the old one")
		}
		return err
	})
}

func loginsIn(t *testing.T, secret *corev1.Secret) auths {
	t.Helper()
	found, err := authsOf(secret)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Changes of good access keys that make them useless.
var keySpoilings = map[string]struct {
	data         map[string]string
	reason, says string
}{
	"a key removed":         {map[string]string{"region": ""}, v1alpha1.ReasonSourceInvalid, "missing or empty: region"},
	"a role elsewhere":      {map[string]string{"roleArn": "arn:aws-cn:iam::111122223333:role/x"}, v1alpha1.ReasonSourceInvalid, "a role can't be used across partitions"},
	"a role that is none":   {map[string]string{"roleArn": "arn:aws:iam::111122223333:role/nobody"}, v1alpha1.ReasonDenied, "sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied"},
	"another's secret key":  {map[string]string{"secretKey": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"}, v1alpha1.ReasonDenied, "secretKey does not belong to accessKeyID"},
	"an unknown access key": {map[string]string{"accessKeyID": "AKIAIOSFODNN7EXAMPLE"}, v1alpha1.ReasonDenied, "the access key is unknown"},
}

func TestBadChangesOfAccessKeysLeaveTheToken(t *testing.T) {
	for sentence, spoiling := range keySpoilings {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			account, label := newECRAccount(t), unique("label")
			home, selected := namespace(t), namespace(t, label, "yes")
			ref := source(t, home, v1alpha1.SecretTypeECR, account.data())
			name := object(t, "pull", label, staticSource(t, home, goodRegistry), ref).Name
			stood := expectSecret(t, selected, "pull", goodRegistry, account.host())
			expectReady(t, name, 1)
			expires := get(t, name).Status.ExpiresAt

			changeSource(t, ref, spoiling.data)
			expectFailedSource(t, name, ref, spoiling.reason, spoiling.says)
			expectSaying(t, name, v1alpha1.ConditionReady, spoiling.reason, "its last known logins stay in use")
			expectUntouched(t, stood)
			if now := get(t, name).Status.ExpiresAt; !now.Equal(expires) {
				t.Errorf("the expiry was %v and is %v", expires, now)
			}
		})
	}
}

func TestBadLineBreaksInAccessKeysDoNoHarm(t *testing.T) {
	account, label := newECRAccount(t), unique("label")
	selected := namespace(t, label, "yes")
	data := account.data()
	for key, value := range data {
		data[key] = value + "\n"
	}
	name := object(t, "pull", label, source(t, selected, v1alpha1.SecretTypeECR, data)).Name
	expectSecret(t, selected, "pull", account.host())
	expectReady(t, name, 1)
}

// Faults of AWS, and what people are told of them.
var cloudFaults = map[string]struct {
	service      fakecloud.Service
	kind         fakecloud.FaultKind
	reason, says string
	// lasts: after the fault a person has to do something, or to wait.
	lasts bool
}{
	"denied":                      {fakecloud.ECR, fakecloud.Denied, v1alpha1.ReasonDenied, "ecr:GetAuthorizationToken at api.ecr.eu-central-1.amazonaws.com: AccessDeniedException", true},
	"throttled":                   {fakecloud.ECR, fakecloud.Throttle, v1alpha1.ReasonThrottled, "ThrottlingException: Rate exceeded", false},
	"failing":                     {fakecloud.ECR, fakecloud.ServerError, v1alpha1.ReasonUnavailable, "ServerException", false},
	"behind a gateway that fails": {fakecloud.ECR, fakecloud.BadGateway, v1alpha1.ReasonUnavailable, "answered 502 Bad Gateway", false},
	"behind a captive portal":     {fakecloud.ECR, fakecloud.HTML, v1alpha1.ReasonUnavailable, "answered 200 OK with text/html instead of data; a proxy in between?", false},
	"without authorizationData":   {fakecloud.ECR, fakecloud.Empty, v1alpha1.ReasonUnavailable, "the answer holds no authorizationData", false},
	"hanging up":                  {fakecloud.ECR, fakecloud.Truncate, v1alpha1.ReasonUnavailable, "ecr:GetAuthorizationToken at api.ecr.eu-central-1.amazonaws.com: ", false},
	"talking without end":         {fakecloud.ECR, fakecloud.Oversize, v1alpha1.ReasonUnavailable, "is longer than 1048576 bytes", false},
	"pointing elsewhere":          {fakecloud.ECR, fakecloud.Redirect, v1alpha1.ReasonUnavailable, "answered with a redirect (307 Temporary Redirect), which is not followed", false},
	"denying the role":            {fakecloud.STS, fakecloud.Denied, v1alpha1.ReasonDenied, "sts:AssumeRole at sts.eu-central-1.amazonaws.com: AccessDenied", true},
	"throttling the role":         {fakecloud.STS, fakecloud.Throttle, v1alpha1.ReasonThrottled, "sts:AssumeRole at sts.eu-central-1.amazonaws.com: Throttling", false},
	"answering HTML to the role":  {fakecloud.STS, fakecloud.HTML, v1alpha1.ReasonUnavailable, "sts:AssumeRole at sts.eu-central-1.amazonaws.com: answered 200 OK with text/html", false},
	"answering nothing":           {fakecloud.ECR, fakecloud.Hang, v1alpha1.ReasonUnavailable, "no answer within the time allowed", false},
}

// The faults befall whoever asks, so these tests follow one another.
// Each fault has a region of its own, so that they don't wait for one another.
func TestBadAnswersOfAWSAreToldAndTheRestWorks(t *testing.T) {
	t.Parallel()
	regions := []string{
		"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-west-1", "eu-west-2",
		"eu-west-3", "eu-north-1", "eu-south-1", "ap-south-1", "ap-northeast-1", "ap-southeast-1", "ap-southeast-2",
	}
	for sentence, fault := range cloudFaults {
		region := regions[0]
		regions = regions[1:]
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			account, label := newECRAccount(t), unique("label")
			account.Region = region
			home, selected := namespace(t), namespace(t, label, "yes")
			host := "api.ecr." + region + ".amazonaws.com"
			if fault.service == fakecloud.STS {
				host = "sts." + region + ".amazonaws.com"
			}
			mend := func() { shared.cloud.ClearFaultsOf(host) }
			shared.cloud.Fail(fault.service, fakecloud.Fault{Kind: fault.kind, Host: host})
			t.Cleanup(mend)
			ref := source(t, home, v1alpha1.SecretTypeECR, account.dataWithRole())
			name := object(t, "pull", label, ref, staticSource(t, home, goodRegistry)).Name

			expectSecret(t, selected, "pull", goodRegistry)
			expectFailedSource(t, name, ref, fault.reason, strings.ReplaceAll(fault.says, "eu-central-1", region))
			expectWell(t, name, 1, goodRegistry)
			mend()
			if fault.lasts {
				return
			}
			expectSecret(t, selected, "pull", goodRegistry, account.host())
			expectReady(t, name, 1)
		})
	}
}

// dataWithRole are the account's keys with a role that they may assume.
func (a ecrAccount) dataWithRole() map[string]string {
	role := "arn:aws:iam::" + a.ID + ":role/pull"
	shared.cloud.AddRole(role, fakecloud.Trust{Principals: []string{a.Key.UserARN}})
	shared.cloud.GrantECR(role, a.ID)
	data := a.data()
	data["roleArn"] = role
	return data
}

func TestBadSourceTooLargeLeavesWhatStands(t *testing.T) {
	label := unique("label")
	home, selected := namespace(t), namespace(t, label, "yes")
	name := object(t, "pull", label, staticSource(t, home, goodRegistry)).Name
	stood := expectSecret(t, selected, "pull", goodRegistry)
	expectReady(t, name, 1)

	large := []v1alpha1.CredentialSource{largeSource(t, home, "a"), largeSource(t, home, "b")}
	update(t, name, func(object *v1alpha1.ImagePullSecret) {
		object.Spec.Registry.Credentials = append(object.Spec.Registry.Credentials, large...)
	})
	expectSaying(t, name, v1alpha1.ConditionReady, v1alpha1.ReasonTooLarge,
		"and a Secret holds 1048576: use fewer sources, or spread them over several ImagePullSecrets")
	expectCondition(t, name, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonTooLarge)
	expectWarning(t, name, v1alpha1.ReasonTooLarge, "a Secret holds 1048576")
	expectUntouched(t, stood)
	expectSecret(t, namespace(t, label, "yes"), "pull", goodRegistry)

	update(t, name, func(object *v1alpha1.ImagePullSecret) {
		object.Spec.Registry.Credentials = object.Spec.Registry.Credentials[:1]
	})
	expectReady(t, name, 2)
}

func TestBadSourcesTooLargeFromTheStartWriteNothing(t *testing.T) {
	label := unique("label")
	home, selected := namespace(t), namespace(t, label, "yes")
	name := object(t, "pull", label, largeSource(t, home, "a"), largeSource(t, home, "b")).Name
	expectSaying(t, name, v1alpha1.ConditionReady, v1alpha1.ReasonTooLarge, "use fewer sources")
	expectNoSecret(t, selected, "pull")
}

// largeSource is a source whose logins take half of what a Secret holds, so
// that they don't fit into one when there is anything beside.
func largeSource(t *testing.T, home, prefix string) v1alpha1.CredentialSource {
	t.Helper()
	return manyLogins(t, home, 150, func(i int) string {
		return fmt.Sprintf("%s-%d.example.com", prefix, i)
	}, strings.Repeat("x", 1600))
}

// manyLogins is a source with many logins, each with a password that ends in a
// text.
func manyLogins(t *testing.T, home string, count int, host func(i int) string, end string) v1alpha1.CredentialSource {
	t.Helper()
	entries := values{}
	for i := range count {
		entries[host(i)] = values{"username": "robot", "password": password() + end}
	}
	content, err := json.Marshal(values{"auths": entries})
	if err != nil {
		t.Fatal(err)
	}
	return source(t, home, corev1.SecretTypeDockerConfigJson, pairs([]string{corev1.DockerConfigJsonKey, string(content)}))
}

func TestBadLengthOfASourceIsNoHindrance(t *testing.T) {
	label := unique("label")
	selected := namespace(t, label, "yes")
	host := func(i int) string { return fmt.Sprintf("r-%d.example.com", i) }
	name := object(t, "pull", label, manyLogins(t, selected, 300, host, "")).Name
	expectReady(t, name, 1)
	secret, err := secretIn(t, selected, "pull")
	if err != nil || len(loginsIn(t, secret).Auths) != 300 {
		t.Errorf("%d logins, %v", len(loginsIn(t, secret).Auths), err)
	}
	if listed := get(t, name).Status.Credentials[0].Registries; len(listed) != 32 {
		t.Errorf("%d registries are listed", len(listed))
	}
}

// longestStatus is more than any status needs for a person to know what to do.
const longestStatus = 64 << 10

// Statuses must not grow with what is in a Secret: etcd takes 1.5 MiB.
func TestBadEntriesByTheThousandKeepTheStatusShort(t *testing.T) {
	for sentence, key := range map[string]string{"ASCII": "Bad-%d.example.com", "umlauts, which may not be cut in two": "bäd-%d.exämple.com"} {
		t.Run(sentence, func(t *testing.T) {
			label := unique("label")
			home, selected := namespace(t), namespace(t, label, "yes")
			ref := manyLogins(t, home, 8000, func(i int) string { return fmt.Sprintf(key, i) }, "")
			name := object(t, "pull", label, ref, staticSource(t, home, goodRegistry)).Name
			expectSecret(t, selected, "pull", goodRegistry)
			expectFailedSource(t, name, ref, v1alpha1.ReasonEntryLeftOut, "left out entry")
			expectShortStatus(t, name)
		})
	}
}

func TestBadOverlapOfSourcesKeepsTheStatusShort(t *testing.T) {
	label := unique("label")
	home, selected := namespace(t), namespace(t, label, "yes")
	host := func(i int) string { return fmt.Sprintf("r-%d.example.com", i) }
	first, second := manyLogins(t, home, 3000, host, ""), manyLogins(t, home, 3000, host, "")
	name := object(t, "pull", label, first, second).Name
	expectReady(t, name, 1)
	secret, err := secretIn(t, selected, "pull")
	if err != nil || len(loginsIn(t, secret).Auths) != 3000 {
		t.Error(err)
	}
	if credential := get(t, name).Status.Credentials[1]; credential.Reason != v1alpha1.ReasonShadowed || credential.Ready != metav1.ConditionTrue {
		t.Errorf("the second source is %s (%s)", credential.Ready, credential.Reason)
	}
	expectShortStatus(t, name)
}

func expectShortStatus(t *testing.T, name string) {
	t.Helper()
	status, err := json.Marshal(get(t, name).Status)
	if err != nil || len(status) > longestStatus {
		t.Errorf("the status takes %d bytes, %v", len(status), err)
	}
}

func TestBadNonASCIIIsCarriedAsItIs(t *testing.T) {
	label, secretPart := unique("label"), password()
	selected := namespace(t, label, "yes")
	user, pass := "büro/日本", "pässwörd:€ "+secretPart
	ref := source(t, selected, corev1.SecretTypeDockerConfigJson, pairs([]string{corev1.DockerConfigJsonKey,
		fmt.Sprintf(`{"auths":{%q:{"auth":%q},%q:{"username":%q,"password":%q}}}`, goodRegistry, encoded(user+":"+pass), otherRegistry, user, pass)}))
	made := newObject("pull", label, ref)
	made.Spec.Target.Secret.Annotations = map[string]v1alpha1.AnnotationValue{"note": "für alle: 日本語 €"}
	create(t, made)
	secret := expectSecret(t, selected, "pull", goodRegistry, otherRegistry)
	for host, login := range loginsIn(t, secret).Auths {
		if login.Username != user || login.Password != pass || login.Auth != encoded(user+":"+pass) {
			t.Errorf("the login for %s is not as it was written", host)
		}
	}
	if secret.Annotations["note"] != "für alle: 日本語 €" {
		t.Errorf("annotations are %v", secret.Annotations)
	}
	expectReady(t, made.Name, 1)
}

// Selectors that can't be evaluated, and where people are told that they are.
var brokenSelectors = map[string]struct {
	add  func(target *v1alpha1.TargetConfig)
	says []string
}{
	"an unknown operator on labels": {
		func(target *v1alpha1.TargetConfig) {
			target.Namespaces.Labels = append(target.Namespaces.Labels, labelsWith("Near"))
		},
		[]string{"spec.target.namespaces.labels[1].matchExpressions[0].operator", `Unsupported value: "Near"`, `"In", "NotIn", "Exists", "DoesNotExist"`},
	},
	"no values for In": {
		func(target *v1alpha1.TargetConfig) {
			target.Namespaces.Labels = append(target.Namespaces.Labels, labelsWith(metav1.LabelSelectorOpIn))
		},
		[]string{"spec.target.namespaces.labels[1].matchExpressions[0].values", "the operators In and NotIn need at least one value"},
	},
	"values for Exists": {
		func(target *v1alpha1.TargetConfig) {
			target.Namespaces.Labels = append(target.Namespaces.Labels, labelsWith(metav1.LabelSelectorOpExists, "x"))
		},
		[]string{"spec.target.namespaces.labels[1].matchExpressions[0].values", "the operators Exists and DoesNotExist take no values"},
	},
	"a label's value that no label has": {
		func(target *v1alpha1.TargetConfig) {
			target.Namespaces.Labels = append(target.Namespaces.Labels, metav1.LabelSelector{MatchLabels: pairs([]string{"team", "the ä team"})})
		},
		[]string{"spec.target.namespaces.labels[1].matchLabels", "the ä team"},
	},
	"an unknown operator on annotations": {
		func(target *v1alpha1.TargetConfig) {
			target.Namespaces.Annotations = []v1alpha1.AnnotationSelector{{MatchExpressions: labelsWith("exists").MatchExpressions}}
		},
		[]string{"spec.target.namespaces.annotations[0].matchExpressions[0].operator", `Unsupported value: "exists"`},
	},
	"an unknown operator on Pods' labels": {
		func(target *v1alpha1.TargetConfig) {
			target.NamespacesWithPods.Labels = []metav1.LabelSelector{labelsWith("Gt", "1")}
		},
		[]string{"spec.target.namespacesWithPods.labels[0].matchExpressions[0].operator", `Unsupported value: "Gt"`},
	},
	"a pattern that is none": {
		func(target *v1alpha1.TargetConfig) { target.Namespaces.Names = []string{"team-[a"} },
		[]string{"spec.target.namespaces.names[0]", "not a pattern"},
	},
}

// labelsWith is a label selector with one requirement.
func labelsWith(operator metav1.LabelSelectorOperator, values ...string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: operator, Values: values}}}
}

func TestBadSelectorsAreToldAndTheOthersWork(t *testing.T) {
	for sentence, broken := range brokenSelectors {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			label, byName := unique("label"), namespace(t)
			selected := namespace(t, label, "yes")
			made := newObject("pull", label, staticSource(t, selected, goodRegistry))
			made.Spec.Target.Namespaces.Names = []string{byName}
			create(t, made)
			expectReady(t, made.Name, 2)

			// The rule that selected byName is replaced by one that is broken:
			// nobody knows what it was to select, so nothing goes.
			update(t, made.Name, func(object *v1alpha1.ImagePullSecret) {
				object.Spec.Target.Namespaces.Names = nil
				broken.add(&object.Spec.Target)
			})
			expectSaying(t, made.Name, v1alpha1.ConditionTargetsReady, v1alpha1.ReasonInvalidSelector, broken.says...)
			expectSaying(t, made.Name, v1alpha1.ConditionReady, v1alpha1.ReasonInvalidSelector, broken.says...)
			expectCondition(t, made.Name, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonInvalidSelector)
			expectWarning(t, made.Name, v1alpha1.ReasonInvalidSelector, broken.says[0])
			expectSecret(t, namespace(t, label, "yes"), "pull", goodRegistry)
			expectSecret(t, byName, "pull", goodRegistry)

			update(t, made.Name, func(object *v1alpha1.ImagePullSecret) { object.Spec.Target = newObject("pull", label).Spec.Target })
			expectReady(t, made.Name, 2)
			expectNoSecret(t, byName, "pull")
		})
	}
}

// A message is cut where it gets too long, but not inside a letter: what is
// read back would not be what was written, and be written again and again.
func TestBadSelectorsByTheHundredAreToldInShort(t *testing.T) {
	for sentence, shift := range map[string]string{"cut between letters or in one": "", "the other way round": "x"} {
		t.Run(sentence, func(t *testing.T) {
			label := unique("label")
			selected := namespace(t, label, "yes")
			ref := staticSource(t, selected, goodRegistry)
			made := newObject("pull", label, ref)
			made.Spec.Target.Namespaces.Names = slices.Repeat([]string{"[" + strings.Repeat("ä", 200)}, 1000)
			made.Spec.Target.Namespaces.Names[0] += shift
			create(t, made)
			expectSecret(t, selected, "pull", goodRegistry)
			expectSaying(t, made.Name, v1alpha1.ConditionReady, v1alpha1.ReasonInvalidSelector, "spec.target.namespaces.names[0]")
			expectWarning(t, made.Name, v1alpha1.ReasonInvalidSelector, "spec.target.namespaces.names[0]")
			expectOthersServed(t)
			settled := get(t, made.Name)
			changeSource(t, ref, map[string]string{"note": "a key that does not matter, but makes the operator look"})
			expectOthersServed(t)
			now := get(t, made.Name)
			if now.ResourceVersion != settled.ResourceVersion {
				t.Error("a status that has not changed was written again")
			}
			if told := fmt.Sprint(now.Status, eventsAbout(t, made.Name)); strings.ContainsRune(told, utf8.RuneError) {
				t.Error("a letter was cut in two")
			}
		})
	}
}

func TestBadExclusionSelectsNothingAndRemovesNothing(t *testing.T) {
	label := unique("label")
	home, selected := namespace(t), namespace(t, label, "yes")
	name := object(t, "pull", label, staticSource(t, home, goodRegistry)).Name
	stood := expectSecret(t, selected, "pull", goodRegistry)
	expectReady(t, name, 1)

	update(t, name, func(object *v1alpha1.ImagePullSecret) {
		object.Spec.Target.Namespaces.Exclude.Labels = []metav1.LabelSelector{labelsWith("Near")}
	})
	expectSaying(t, name, v1alpha1.ConditionReady, v1alpha1.ReasonInvalidSelector,
		"spec.target.namespaces.exclude.labels[0].matchExpressions[0].operator", "no namespace is selected until this exclusion can be evaluated")
	later := namespace(t, label, "yes")
	expectOthersServed(t)
	expectNoSecret(t, later, "pull")
	expectUntouched(t, stood)

	update(t, name, func(object *v1alpha1.ImagePullSecret) {
		object.Spec.Target.Namespaces.Exclude.Labels[0].MatchExpressions[0].Operator = metav1.LabelSelectorOpExists
	})
	expectReady(t, name, 2)
	expectSecret(t, later, "pull", goodRegistry)
}

// expectOthersServed waits until other objects' Secrets were written: by then
// the operator had the time to do what it had to do before.
func expectOthersServed(t *testing.T) {
	t.Helper()
	for range 3 {
		label := unique("label")
		selected := namespace(t, label, "yes")
		expectReady(t, object(t, "pull", label, staticSource(t, selected, goodRegistry)).Name, 1)
	}
}

// foreign are Secrets of the target's name that others made.
var foreign = map[string]func(t *testing.T, namespace string) *corev1.Secret{
	"logins": func(*testing.T, string) *corev1.Secret {
		content, _ := dockerConfig(otherRegistry)
		return &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, StringData: pairs([]string{corev1.DockerConfigJsonKey, content})}
	},
	"another type": func(*testing.T, string) *corev1.Secret {
		return &corev1.Secret{Type: corev1.SecretTypeOpaque, StringData: pairs([]string{"token", password()})}
	},
	"another owner": func(t *testing.T, namespace string) *corev1.Secret {
		content, _ := dockerConfig(otherRegistry)
		owner := create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "owner"}})
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: owner.UID}}},
			Type:       corev1.SecretTypeDockerConfigJson, StringData: pairs([]string{corev1.DockerConfigJsonKey, content}),
		}
	},
}

// What becomes of a foreign Secret.
const (
	leftAlone = "left alone"
	takenOver = "taken over in place"
	replaced  = "replaced"
)

var conflicts = map[string]struct {
	foreign string
	policy  v1alpha1.ConflictPolicy
	becomes string
	says    string
}{
	"logins, by default":       {"logins", "", leftAlone, "is not kept by this operator: delete it, choose another spec.target.secret.name, or set spec.target.conflictPolicy to Adopt or Overwrite"},
	"logins, Fail":             {"logins", v1alpha1.ConflictFail, leftAlone, "is not kept by this operator"},
	"logins, Adopt":            {"logins", v1alpha1.ConflictAdopt, takenOver, ""},
	"logins, Overwrite":        {"logins", v1alpha1.ConflictOverwrite, takenOver, ""},
	"another type, Fail":       {"another type", v1alpha1.ConflictFail, leftAlone, "is not kept by this operator"},
	"another type, Adopt":      {"another type", v1alpha1.ConflictAdopt, leftAlone, "its type is not kubernetes.io/dockerconfigjson, which can't be changed in place: delete it, or set spec.target.conflictPolicy to Overwrite"},
	"another type, Overwrite":  {"another type", v1alpha1.ConflictOverwrite, replaced, ""},
	"another owner, Fail":      {"another owner", v1alpha1.ConflictFail, leftAlone, "is not kept by this operator"},
	"another owner, Adopt":     {"another owner", v1alpha1.ConflictAdopt, leftAlone, `belongs to ConfigMap "owner"`},
	"another owner, Overwrite": {"another owner", v1alpha1.ConflictOverwrite, takenOver, ""},
}

func TestBadTargetsAreMetByTheConflictPolicy(t *testing.T) {
	for sentence, conflict := range conflicts {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			label := unique("label")
			taken, free := namespace(t, label, "yes"), namespace(t, label, "yes")
			secret := foreign[conflict.foreign](t, taken)
			secret.Namespace, secret.Name = taken, "pull"
			stood := create(t, secret)
			made := newObject("pull", label, staticSource(t, free, goodRegistry))
			made.Spec.Target.ConflictPolicy = conflict.policy
			create(t, made)

			expectSecret(t, free, "pull", goodRegistry)
			if conflict.becomes == leftAlone {
				expectConflict(t, made.Name, stood, free, conflict.says)
				return
			}
			ours := expectSecret(t, taken, "pull", goodRegistry)
			if ours.Type != corev1.SecretTypeDockerConfigJson || (ours.UID == stood.UID) != (conflict.becomes == takenOver) || len(ours.Data) != 1 {
				t.Errorf("it became %s of type %s with %d keys; it was %s", ours.UID, ours.Type, len(ours.Data), stood.UID)
			}
			expectKeptFor(t, ours, made.UID)
			expectReady(t, made.Name, 2)
		})
	}
}

// expectConflict waits until an object tells that a Secret is in its way, and
// that its own stands in the one other namespace, and checks that the Secret in
// its way is as it was.
func expectConflict(t *testing.T, name string, stood *corev1.Secret, other, says string) {
	t.Helper()
	expectSaying(t, name, v1alpha1.ConditionTargetsReady, v1alpha1.ReasonConflict, says, fmt.Sprintf("Secret %s/%s exists", stood.Namespace, stood.Name))
	expectSaying(t, name, v1alpha1.ConditionReady, v1alpha1.ReasonConflict, says)
	expectWarning(t, name, v1alpha1.ReasonConflict, says)
	eventually(t, name+" told of one failing namespace", func() error {
		status := get(t, name).Status
		if len(status.Failing) != 1 || status.Failing[0].Namespace != stood.Namespace || status.Failing[0].Reason != v1alpha1.ReasonConflict ||
			status.Targets != (v1alpha1.TargetCounts{Selected: 2, Ready: 1, Failing: 1}) || !slices.Equal(status.ManagedNamespaces, []string{other}) {
			return fmt.Errorf("its status is %+v", status)
		}
		return nil
	})
	expectUntouched(t, stood)
	expectNoLeak(t, name)
}

func expectKeptFor(t *testing.T, secret *corev1.Secret, owner any) {
	t.Helper()
	owned := false
	for _, reference := range secret.OwnerReferences {
		owned = owned || reference.UID == owner
	}
	if secret.Labels[v1alpha1.LabelOwnerUID] != fmt.Sprint(owner) || !owned {
		t.Errorf("labels are %v, owners are %v", secret.Labels, secret.OwnerReferences)
	}
}

func TestBadTargetThatIsDeletedByItsOwnerIsNoConflictAnyMore(t *testing.T) {
	label := unique("label")
	taken, free := namespace(t, label, "yes"), namespace(t, label, "yes")
	secret := foreign["another type"](t, taken)
	secret.Namespace, secret.Name = taken, "pull"
	stood := create(t, secret)
	name := object(t, "pull", label, staticSource(t, free, goodRegistry)).Name
	expectConflict(t, name, stood, free, "")

	if err := shared.api.Delete(t.Context(), stood); err != nil {
		t.Fatal(err)
	}
	// Foreign Secrets are not watched; a change of the spec is a cause to look.
	update(t, name, func(object *v1alpha1.ImagePullSecret) {
		object.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{"again": "yes"}
	})
	expectSecret(t, taken, "pull", goodRegistry)
	expectReady(t, name, 2)
}

func TestBadTargetWithIdenticalContentStaysItsOwners(t *testing.T) {
	label := unique("label")
	free, taken := namespace(t, label, "yes"), namespace(t)
	name := object(t, "pull", label, staticSource(t, free, goodRegistry)).Name
	ours := expectSecret(t, free, "pull", goodRegistry)
	stood := create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: taken, Name: "pull"}, Type: ours.Type, Data: ours.Data})

	relabel(t, taken, label, "yes")
	expectSaying(t, name, v1alpha1.ConditionReady, v1alpha1.ReasonConflict, "is not kept by this operator")
	expectOthersServed(t)
	settled, err := secretIn(t, taken, "pull")
	if err != nil {
		t.Fatal(err)
	}
	if len(settled.Labels) > 0 || len(settled.Annotations) > 0 || len(settled.OwnerReferences) > 0 || settled.UID != stood.UID ||
		!equality.Semantic.DeepEqual(settled.Data, stood.Data) {
		t.Errorf("labels %v, annotations %v, owners %v", settled.Labels, settled.Annotations, settled.OwnerReferences)
	}
	for _, manager := range settled.ManagedFields {
		if manager.Manager == v1alpha1.FieldManager {
			t.Errorf("the operator owns %s", manager.FieldsV1)
		}
	}
	expectOthersServed(t)
	expectUntouched(t, settled)
}

func TestBadNeighboursThatWantTheSameSecret(t *testing.T) {
	label := unique("label")
	home, selected := namespace(t), namespace(t, label, "yes")
	older, younger := newObject("pull", label, staticSource(t, home, goodRegistry)), newObject("pull", label, staticSource(t, home, otherRegistry))
	prefix := unique("imps") // objects of one second go by their names
	older.Name, younger.Name = prefix+"-a", prefix+"-b"
	create(t, older)
	stood := expectSecret(t, selected, "pull", goodRegistry)
	create(t, younger)

	expectSaying(t, younger.Name, v1alpha1.ConditionReady, v1alpha1.ReasonProvidedByOther,
		fmt.Sprintf("Secret %s/pull is kept for ImagePullSecret %q, which is older", selected, older.Name))
	expectWarning(t, younger.Name, v1alpha1.ReasonProvidedByOther, "which is older")
	expectCondition(t, younger.Name, v1alpha1.ConditionCredentialsReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	expectReady(t, older.Name, 1)
	expectUntouched(t, stood)
	expectKeptFor(t, stood, older.UID)

	if err := shared.api.Delete(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	taken := expectSecret(t, selected, "pull", otherRegistry)
	expectReady(t, younger.Name, 1)
	expectKeptFor(t, taken, younger.UID)
	expectOthersServed(t) // the garbage collector has its say as well
	expectSecret(t, selected, "pull", otherRegistry)
}
