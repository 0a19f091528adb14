package witness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/tests/federation"
)

const awsAudience = "sts.amazonaws.com"

// awsCommand is AWS's own command line.
func awsCommand(t *testing.T) command {
	t.Helper()
	return installed(t, "aws", "awscli")
}

// awsEnv is what makes the command line reach the cloud, and read nothing of
// the machine.
func awsEnv(region string, more ...string) []string {
	return append([]string{
		"AWS_CA_BUNDLE=" + shared.cloud.CAFile(), "AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region,
		"AWS_STS_REGIONAL_ENDPOINTS=regional", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=",
	}, more...)
}

// tokenFile puts a ServiceAccount's token where the command line reads it.
func tokenFile(t *testing.T, audience string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(tokenFor(t, audience)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// assumed is what the command line prints of a role that was assumed.
type assumed struct {
	Credentials struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      time.Time
	}
	SubjectFromWebIdentityToken, Audience string
	AssumedRoleUser                       struct{ Arn string }
}

// env hands the session to another call.
func (a assumed) env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + a.Credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + a.Credentials.SecretAccessKey,
		"AWS_SESSION_TOKEN=" + a.Credentials.SessionToken,
	}
}

func assumeRole(t *testing.T, aws command, role, audience string) (assumed, error) {
	t.Helper()
	output, err := aws.run(t, awsEnv("eu-central-1"), "sts", "assume-role-with-web-identity", "--output", "json",
		"--role-arn", role, "--role-session-name", "witness", "--web-identity-token", "file://"+tokenFile(t, audience))
	if err != nil {
		return assumed{}, err
	}
	var session assumed
	if err := json.Unmarshal([]byte(output), &session); err != nil {
		t.Fatalf("reading what the command line printed: %v", err)
	}
	return session, nil
}

func TestTheAWSCommandLineAssumesTheRoleAndLogsInToECR(t *testing.T) {
	aws := awsCommand(t)
	source := federation.ECR(shared.cloud, shared.id, 2)
	role := string(source.Entry.ECR.RoleARN)
	session, err := assumeRole(t, aws, role, awsAudience)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(strings.Replace(role, ":iam:", ":sts:", 1), ":role/", ":assumed-role/", 1) + "/witness"
	if session.AssumedRoleUser.Arn != want || session.Audience != awsAudience || session.SubjectFromWebIdentityToken != shared.id.Subject() {
		t.Errorf("it assumed %s as %s with a token for %s", session.AssumedRoleUser.Arn, session.SubjectFromWebIdentityToken, session.Audience)
	}
	if until := time.Until(session.Credentials.Expiration); until < 30*time.Minute || until > time.Hour {
		t.Errorf("the session is valid for %s", until)
	}
	password, err := aws.run(t, awsEnv("eu-central-1", session.env()...), "ecr", "get-login-password")
	if err != nil {
		t.Fatal(err)
	}
	expectOpens(t, source.Registry, "AWS", password)
}

// The variables are those of IRSA, so that the command line itself assumes the
// role.
func TestTheAWSCommandLineLogsInToECRPublicByWebIdentity(t *testing.T) {
	aws := awsCommand(t)
	source := federation.ECRPublic(shared.cloud, shared.id, 2)
	env := awsEnv("us-east-1", "AWS_ROLE_ARN="+string(source.Entry.ECRPublic.RoleARN), "AWS_WEB_IDENTITY_TOKEN_FILE="+tokenFile(t, awsAudience))
	password, err := aws.run(t, env, "ecr-public", "get-login-password")
	if err != nil {
		t.Fatal(err)
	}
	expectOpens(t, source.Registry, "AWS", password)
}

func TestTheAWSCommandLineUnderstandsRefusals(t *testing.T) {
	aws := awsCommand(t)
	role := string(federation.ECR(shared.cloud, shared.id, 3).Entry.ECR.RoleARN)
	_, err := assumeRole(t, aws, role, "elsewhere")
	expectAWSError(t, err, "(InvalidIdentityToken)", "Incorrect token audience")
	_, err = assumeRole(t, aws, role+"-2", awsAudience)
	expectAWSError(t, err, "(AccessDenied)", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	_, err = aws.run(t, awsEnv("eu-central-1", "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=wrong"), "ecr", "get-login-password")
	expectAWSError(t, err, "(UnrecognizedClientException)", "security token")
}

func expectAWSError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}
