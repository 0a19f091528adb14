package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/cluster"
	"github.com/imagepullsecrets/operator/tests/federation"
	"github.com/imagepullsecrets/operator/tests/operator"
)

// asIfOurs is the UID of a grant, for the label of what is the operator's.
const asIfOurs = "11111111-2222-3333-4444-555555555555"

// The fence as it is by default refuses the operator's own ServiceAccount, which
// RBAC allows everything here, whatever the operator is not for.
func TestFenceBindsTheOperatorsServiceAccount(t *testing.T) {
	own := ownCluster(t, func(ctx context.Context, c *cluster.Cluster) error {
		return operator.Install(ctx, c.Config(), operator.Fence{AnnotatedNames: []string{"pull-secret"}})
	})
	grantRules(t, shared.api, "whatever-it-takes", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"*"}, Verbs: []string{"*"}})
	captive := captiveOf(t, own)
	awaitFence(t, captive, "secrets", "service-accounts", "tokens")

	t.Run("Secrets", func(t *testing.T) { fencedSecrets(t, captive) })
	t.Run("ServiceAccounts", func(t *testing.T) { fencedAccounts(t, captive) })
	t.Run("tokens", func(t *testing.T) { fencedTokens(t, captive) })
	t.Run("others are not bound", func(t *testing.T) {
		secret := secretOf("kubernetes.io/tls", func(s *corev1.Secret) { s.Data = map[string][]byte{"tls.crt": {}, "tls.key": {}} })
		secret.Namespace = namespace(t)
		create(t, secret)
		remove(t, secret)
	})
	t.Run("the API server finds nothing wrong with the policies", func(t *testing.T) { noWarnings(t) })
	t.Run("the refusal of a token reaches status in words", func(t *testing.T) { refusedToken(t, own) })
}

// captiveOf is a client with the operator's own credentials.
func captiveOf(t *testing.T, own *cluster.Cluster) kubernetes.Interface {
	t.Helper()
	path, err := own.ServiceAccountKubeconfig(t.Context(), operator.Namespace, operator.ServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	return kubernetes.NewForConfigOrDie(config)
}

// awaitFence waits until policies are in force, which takes the API server a
// moment, as a new right does.
func awaitFence(t *testing.T, captive kubernetes.Interface, policies ...string) {
	t.Helper()
	account := create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace(t), Name: "probe"}})
	dryRun := []string{metav1.DryRunAll}
	probes := map[string]func() error{
		"secrets": func() error {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
			_, err := captive.CoreV1().Secrets(account.Namespace).Create(t.Context(), secret, metav1.CreateOptions{DryRun: dryRun})
			return err
		},
		"service-accounts": func() error {
			_, err := captive.CoreV1().ServiceAccounts(account.Namespace).Patch(t.Context(), account.Name, types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"probe":"yes"}}}`), metav1.PatchOptions{DryRun: dryRun})
			return err
		},
		"tokens": func() error {
			_, err := captive.CoreV1().ServiceAccounts(account.Namespace).CreateToken(t.Context(), account.Name,
				&authenticationv1.TokenRequest{}, metav1.CreateOptions{DryRun: dryRun})
			return err
		},
	}
	for _, policy := range policies {
		eventually(t, "the fence of "+policy, func() error {
			switch err := probes[policy](); {
			case err == nil:
				return errors.New("it lets everything through")
			case !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'imagepullsecret-operator-fence-"+policy+"'"):
				return err
			}
			return nil
		})
	}
}

// expectFenced checks that the fence refused a request with words; "" for that
// it went through.
func expectFenced(t *testing.T, err error, says string) {
	t.Helper()
	switch {
	case says == "" && err != nil:
		t.Errorf("a needed act is refused: %v", err)
	case says != "" && (!apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "the operator's fence: "+says)):
		t.Errorf("want a refusal with %q, got: %v", says, err)
	}
}

// secretOf is a Secret with the operator's label, as changes leave it.
func secretOf(kind corev1.SecretType, changes ...func(*corev1.Secret)) *corev1.Secret {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "pull", Labels: map[string]string{v1alpha1.LabelOwnerUID: asIfOurs}},
		Type:       kind, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)},
	}
	for _, change := range changes {
		change(secret)
	}
	return secret
}

func unlabelled(s *corev1.Secret) { s.Labels = nil }

func otherContent(s *corev1.Secret) {
	s.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{"a.example.com":{}}}`)
}

func moreData(s *corev1.Secret) { s.Data["more"] = []byte("x") }

func annotatedWith(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { metav1.SetMetaDataAnnotation(&s.ObjectMeta, key, value) }
}

func labelledWith(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { metav1.SetMetaDataLabel(&s.ObjectMeta, key, value) }
}

func called(name string) func(*corev1.Secret) { return func(s *corev1.Secret) { s.Name = name } }

// asks makes a Secret one that asks by its annotation.
func asks(s *corev1.Secret) {
	s.Name, s.Labels = "pull-secret", nil
	annotatedWith(v1alpha1.AnnotationChainguardUpdater, "id")(s)
	moreData(s)
}

const (
	logins     = corev1.SecretTypeDockerConfigJson
	leases     = corev1.SecretType("images.banzaicloud.io/leases")
	needsLabel = "it writes no Secret without the label images.banzaicloud.io/owner-uid, but in place those that ask by the annotation " +
		"pull-secret-updater.chainguard.dev/identity and whose name is in annotatedSecrets.names (chart; with annotatedSecrets.enabled)"
	onlyLogin  = "of a Secret that asks by its annotation it writes the login and the annotation images.banzaicloud.io/content-hash only"
	onlyLogins = "it writes Secrets of type kubernetes.io/dockerconfigjson only"
	onlyKey    = "it writes no key of a Secret but .dockerconfigjson"
	onlyLeases = "Secrets of leases are of type images.banzaicloud.io/leases, and it deletes none"
	notDeleted = "it deletes no Secret without the label images.banzaicloud.io/owner-uid: delete it yourself, or set fence.allowReplacing (chart), " +
		"which conflictPolicy Overwrite needs for Secrets of another type"
	neverDeleted = "it deletes no Secret of this type, whatever label it carries"
)

// Secrets that the operator tries to create; "" is for what is needed.
var fencedCreations = map[string]struct {
	namespace string // a new one if empty
	secret    *corev1.Secret
	says      string
}{
	"its own":                           {secret: secretOf(logins)},
	"without its label":                 {secret: secretOf(logins, unlabelled), says: needsLabel},
	"with its label, empty":             {secret: secretOf(logins, labelledWith(v1alpha1.LabelOwnerUID, "")), says: needsLabel},
	"that asks":                         {secret: secretOf(logins, asks, func(s *corev1.Secret) { delete(s.Data, "more") }), says: needsLabel},
	"of another type":                   {secret: secretOf(corev1.SecretTypeOpaque), says: onlyLogins},
	"a token of a ServiceAccount":       {secret: secretOf(corev1.SecretTypeServiceAccountToken, annotatedWith(corev1.ServiceAccountNameKey, "app")), says: onlyLogins},
	"with another key":                  {secret: secretOf(logins, moreData), says: onlyKey},
	"leases":                            {namespace: operator.Namespace, secret: secretOf(leases, unlabelled, called("imagepullsecret-operator-leases-31"))},
	"leases of a name too far":          {namespace: operator.Namespace, secret: secretOf(leases, called("imagepullsecret-operator-leases-32")), says: onlyLogins},
	"leases elsewhere":                  {secret: secretOf(leases, called("imagepullsecret-operator-leases-0")), says: onlyLogins},
	"something else by a lease's name":  {namespace: operator.Namespace, secret: secretOf(logins, called("imagepullsecret-operator-leases-0")), says: onlyLeases},
	"leases by a name that starts like": {namespace: operator.Namespace, secret: secretOf(leases, called("imagepullsecret-operator-leases-0-mine")), says: onlyLogins},
}

// Secrets that stand, and what the operator tries to make of them.
var fencedUpdates = map[string]struct {
	stands  *corev1.Secret
	changes []func(*corev1.Secret)
	says    string
}{
	"new content of its own":                  {secretOf(logins), []func(*corev1.Secret){otherContent, labelledWith("a", "b"), annotatedWith("c", "d")}, ""},
	"taking one over":                         {secretOf(logins, unlabelled), []func(*corev1.Secret){otherContent, labelledWith(v1alpha1.LabelOwnerUID, asIfOurs)}, ""},
	"taking one over that has other keys":     {secretOf(logins, unlabelled, moreData), []func(*corev1.Secret){otherContent, labelledWith(v1alpha1.LabelOwnerUID, asIfOurs)}, ""},
	"from one keeper to another":              {secretOf(logins), []func(*corev1.Secret){labelledWith(v1alpha1.LabelOwnerUID, "other")}, ""},
	"writing one that is not labelled":        {secretOf(logins, unlabelled), []func(*corev1.Secret){otherContent}, needsLabel},
	"taking the label away":                   {secretOf(logins), []func(*corev1.Secret){unlabelled}, needsLabel},
	"another key":                             {secretOf(logins), []func(*corev1.Secret){moreData}, onlyKey},
	"another value of another key":            {secretOf(logins, moreData), []func(*corev1.Secret){func(s *corev1.Secret) { s.Data["more"] = []byte("y") }}, onlyKey},
	"labelling one of another type":           {secretOf(corev1.SecretTypeOpaque, unlabelled), []func(*corev1.Secret){labelledWith(v1alpha1.LabelOwnerUID, asIfOurs)}, onlyLogins},
	"a new login for one that asks":           {secretOf(logins, asks), []func(*corev1.Secret){otherContent, annotatedWith(v1alpha1.AnnotationContentHash, "1")}, ""},
	"one that asks by another name":           {secretOf(logins, asks, called("other")), []func(*corev1.Secret){otherContent}, needsLabel},
	"one that does not ask":                   {secretOf(logins, unlabelled, called("pull-secret")), []func(*corev1.Secret){otherContent, annotatedWith(v1alpha1.AnnotationChainguardUpdater, "id")}, needsLabel},
	"one of another type that asks":           {secretOf(corev1.SecretTypeOpaque, asks), []func(*corev1.Secret){otherContent}, onlyLogins},
	"another key of one that asks":            {secretOf(logins, asks), []func(*corev1.Secret){func(s *corev1.Secret) { s.Data["third"] = nil }}, onlyKey},
	"one key less in one that asks":           {secretOf(logins, asks), []func(*corev1.Secret){func(s *corev1.Secret) { delete(s.Data, "more") }}, onlyLogin},
	"another identity in one that asks":       {secretOf(logins, asks), []func(*corev1.Secret){annotatedWith(v1alpha1.AnnotationChainguardUpdater, "other")}, onlyLogin},
	"no annotation in one that asks":          {secretOf(logins, asks), []func(*corev1.Secret){func(s *corev1.Secret) { s.Annotations = nil }}, onlyLogin},
	"a new annotation in one that asks":       {secretOf(logins, asks), []func(*corev1.Secret){annotatedWith("a", "b")}, onlyLogin},
	"a label in one that asks":                {secretOf(logins, asks), []func(*corev1.Secret){labelledWith("a", "b")}, onlyLogin},
	"a finalizer in one that asks":            {secretOf(logins, asks), []func(*corev1.Secret){func(s *corev1.Secret) { s.Finalizers = []string{"a.example.com/b"} }}, onlyLogin},
	"an owner of one that asks":               {secretOf(logins, asks), []func(*corev1.Secret){func(s *corev1.Secret) { s.OwnerReferences = []metav1.OwnerReference{gone()} }}, onlyLogin},
	"no more changes of one that asks":        {secretOf(logins, asks), []func(*corev1.Secret){func(s *corev1.Secret) { s.Immutable = ptr.To(true) }}, onlyLogin},
	"the label taken from one that asks, too": {secretOf(logins, asks, labelledWith(v1alpha1.LabelOwnerUID, asIfOurs)), []func(*corev1.Secret){unlabelled}, onlyLogin},
}

// gone is an owner that does not exist: the garbage collector deletes what it owns.
func gone() metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: asIfOurs}
}

// Secrets that the operator tries to delete.
var fencedDeletions = map[string]struct {
	namespace string
	secret    *corev1.Secret
	says      string
}{
	"its own":                            {secret: secretOf(logins)},
	"its own, made another type":         {secret: secretOf(corev1.SecretTypeOpaque)},
	"one that is not labelled":           {secret: secretOf(logins, unlabelled), says: notDeleted},
	"one of another type":                {secret: secretOf(corev1.SecretTypeOpaque, unlabelled), says: notDeleted},
	"one that asks":                      {secret: secretOf(logins, asks), says: notDeleted},
	"a release of Helm, labelled":        {secret: secretOf("helm.sh/release.v1"), says: neverDeleted},
	"a token, labelled":                  {secret: secretOf(corev1.SecretTypeServiceAccountToken, annotatedWith(corev1.ServiceAccountNameKey, "app")), says: neverDeleted},
	"a node's token, labelled":           {secret: secretOf("bootstrap.kubernetes.io/token"), says: neverDeleted},
	"leases":                             {namespace: operator.Namespace, secret: secretOf(leases, unlabelled, called("imagepullsecret-operator-leases-7")), says: onlyLeases},
	"something by a lease's name, ours":  {namespace: operator.Namespace, secret: secretOf(logins, called("imagepullsecret-operator-leases-8")), says: onlyLeases},
	"by a lease's name, ours, elsewhere": {secret: secretOf(logins, called("imagepullsecret-operator-leases-8"))},
}

func fencedSecrets(t *testing.T, captive kubernetes.Interface) {
	at := func(t *testing.T, fixed string) string {
		if fixed != "" {
			return fixed
		}
		return namespace(t)
	}
	for sentence, test := range fencedCreations {
		t.Run("create/"+sentence, func(t *testing.T) {
			_, err := captive.CoreV1().Secrets(at(t, test.namespace)).Create(t.Context(), test.secret, metav1.CreateOptions{})
			expectFenced(t, err, test.says)
		})
	}
	for sentence, test := range fencedUpdates {
		t.Run("update/"+sentence, func(t *testing.T) {
			test.stands.Namespace = at(t, "")
			secret := create(t, test.stands).DeepCopy()
			for _, change := range test.changes {
				change(secret)
			}
			_, err := captive.CoreV1().Secrets(secret.Namespace).Update(t.Context(), secret, metav1.UpdateOptions{})
			expectFenced(t, err, test.says)
		})
	}
	for sentence, test := range fencedDeletions {
		t.Run("delete/"+sentence, func(t *testing.T) {
			test.secret.Namespace = at(t, test.namespace)
			if test.secret.Type == corev1.SecretTypeServiceAccountToken {
				create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: test.secret.Namespace, Name: "app"}})
			}
			create(t, test.secret)
			err := captive.CoreV1().Secrets(test.secret.Namespace).Delete(t.Context(), test.secret.Name, metav1.DeleteOptions{})
			expectFenced(t, err, test.says)
		})
	}
	t.Run("delete/many at once", func(t *testing.T) {
		secret := secretOf(corev1.SecretTypeOpaque, unlabelled)
		secret.Namespace = namespace(t)
		create(t, secret)
		err := captive.CoreV1().Secrets(secret.Namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
		expectFenced(t, err, notDeleted)
	})
}

// anAccount is a ServiceAccount with a record of what is ours, and what it lists.
func anAccount(record string, names ...string) *corev1.ServiceAccount {
	made := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}},
		Secrets:    []corev1.ObjectReference{{Name: "mine"}},
	}
	lists(record, names...)(made)
	return made
}

// provisioned is anAccount that asks for Secrets by image-pull-secrets-provisioner's
// annotation.
func provisioned(record string, names ...string) *corev1.ServiceAccount {
	made := anAccount(record, names...)
	made.Annotations[v1alpha1.AnnotationAccountRegistry] = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"
	return made
}

// lists sets a record and a list.
func lists(record string, names ...string) func(*corev1.ServiceAccount) {
	return func(a *corev1.ServiceAccount) {
		a.ImagePullSecrets = nil
		for _, name := range names {
			a.ImagePullSecrets = append(a.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
		}
		if delete(a.Annotations, v1alpha1.AnnotationAttached); record != "" {
			metav1.SetMetaDataAnnotation(&a.ObjectMeta, v1alpha1.AnnotationAttached, record)
		}
	}
}

const (
	onlyList     = "of a ServiceAccount it changes imagePullSecrets and the annotation images.banzaicloud.io/attached only"
	onlyRecorded = "in imagePullSecrets of a ServiceAccount it adds and removes names that the annotation images.banzaicloud.io/attached records only"
	onlyAdded    = "it records only names that it adds to imagePullSecrets with the same write, unless annotations imagepullsecrets.preferred.jp/* ask for Secrets"
	unrecorded   = "it adds no name to imagePullSecrets that it does not record"
)

// ServiceAccounts that stand, and what the operator tries to make of them.
var fencedAccountChanges = map[string]struct {
	stands *corev1.ServiceAccount
	change func(*corev1.ServiceAccount)
	says   string
}{
	"a name":                             {anAccount("", "mine"), lists("pull", "mine", "pull"), ""},
	"the first name":                     {anAccount(""), lists("pull", "pull"), ""},
	"two names more":                     {anAccount("one", "mine", "one", "yours"), lists("one,three,two", "mine", "one", "yours", "two", "three"), ""},
	"its name away":                      {anAccount("pull", "mine", "pull", "yours"), lists("", "mine", "yours"), ""},
	"one of its names away":              {anAccount(" one, two", "one", "mine", "two"), lists("two", "mine", "two"), ""},
	"one for another":                    {anAccount("one", "one", "mine"), lists("two", "mine", "two"), ""},
	"its name away that others add, too": {anAccount("pull", "pull", "mine", "pull"), lists("", "pull", "mine"), ""},
	"a recorded name back":               {anAccount("pull", "mine"), lists("pull", "mine", "pull"), ""},
	"the record of what is gone":         {anAccount("pull", "mine"), lists("", "mine"), ""},

	"an inherited name on record": {provisioned("", "mine"), lists("mine", "mine"), ""},
	"it away":                     {provisioned("mine", "mine", "yours"), lists("", "yours"), ""},

	"an inherited name on record and away":      {provisioned("", "mine"), lists("mine"), onlyAdded},
	"a name without a record":                   {anAccount("", "mine"), lists("", "mine", "pull"), onlyRecorded},
	"another's name away":                       {anAccount("pull", "mine", "pull"), lists("pull", "pull"), onlyRecorded},
	"another's names in another order":          {anAccount("pull", "mine", "yours", "pull"), lists("pull", "yours", "mine", "pull"), onlyRecorded},
	"another's name for another":                {anAccount("", "mine"), lists("", "yours"), onlyRecorded},
	"another's name away, on record afterwards": {anAccount("", "mine"), lists("mine"), onlyAdded},
	"another's name on record":                  {anAccount("", "mine"), lists("mine", "mine"), onlyAdded},
	"another's name twice and on record":        {anAccount("", "mine"), lists("mine", "mine", "mine"), onlyAdded},
	"a record of what it does not add":          {anAccount("", "mine"), lists("pull", "mine"), onlyAdded},
	"a name back that leaves the record":        {anAccount("pull", "mine"), lists("", "mine", "pull"), unrecorded},

	"a label":      {anAccount(""), func(a *corev1.ServiceAccount) { a.Labels["a"] = "c" }, onlyList},
	"no label":     {anAccount(""), func(a *corev1.ServiceAccount) { a.Labels = nil }, onlyList},
	"a cloud role": {anAccount(""), func(a *corev1.ServiceAccount) { a.Annotations["eks.amazonaws.com/role-arn"] = "arn" }, onlyList},
	"a changed annotation, with a name": {anAccount(""), func(a *corev1.ServiceAccount) {
		lists("pull", "pull")(a)
		a.Annotations["c"] = "e"
	}, onlyList},
	"no annotation":            {anAccount(""), func(a *corev1.ServiceAccount) { a.Annotations = nil }, onlyList},
	"Secrets":                  {anAccount(""), func(a *corev1.ServiceAccount) { a.Secrets = nil }, onlyList},
	"whether Pods get a token": {anAccount(""), func(a *corev1.ServiceAccount) { a.AutomountServiceAccountToken = ptr.To(false) }, onlyList},
	"an owner":                 {anAccount(""), func(a *corev1.ServiceAccount) { a.OwnerReferences = []metav1.OwnerReference{gone()} }, onlyList},
	"a finalizer":              {anAccount(""), func(a *corev1.ServiceAccount) { a.Finalizers = []string{"a.example.com/b"} }, onlyList},
}

func fencedAccounts(t *testing.T, captive kubernetes.Interface) {
	try := func(t *testing.T, stands *corev1.ServiceAccount, change func(*corev1.ServiceAccount), says string) {
		stands.Namespace = namespace(t)
		changed := create(t, stands).DeepCopy()
		change(changed)
		_, err := captive.CoreV1().ServiceAccounts(changed.Namespace).Update(t.Context(), changed, metav1.UpdateOptions{})
		expectFenced(t, err, says)
	}
	for sentence, test := range fencedAccountChanges {
		t.Run(sentence, func(t *testing.T) { try(t, test.stands, test.change, test.says) })
	}
	var many, recorded []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("a-name-of-some-length-%d", i))
	}
	for i := range 50 {
		recorded = append(recorded, fmt.Sprintf("a-name-of-ours-of-some-length-%d", i))
	}
	all, record := slices.Concat(many, recorded), strings.Join(recorded, ",")
	t.Run("a thousand names and fifty of its own", func(t *testing.T) {
		try(t, anAccount("", many...), lists(record, all...), "")
	})
	t.Run("those away again", func(t *testing.T) {
		try(t, anAccount(record, all...), lists("", many...), "")
	})
	t.Run("those away, and one of the thousand", func(t *testing.T) {
		try(t, anAccount(record, all...), lists("", many[1:]...), onlyRecorded)
	})
}

// Tokens that the operator tries to mint.
var fencedRequests = map[string]struct {
	audiences []string
	change    func(*authenticationv1.TokenRequestSpec)
	says      string
}{
	"AWS":                               {audiences: []string{"sts.amazonaws.com"}},
	"a workload identity pool":          {audiences: []string{"https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b"}},
	"a pool without its scheme":         {audiences: []string{"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b"}},
	"GKE's pool":                        {audiences: []string{"example.svc.id.goog"}},
	"Azure":                             {audiences: []string{"api://AzureADTokenExchange"}},
	"Azure in China":                    {audiences: []string{"api://AzureADTokenExchangeChina"}},
	"Azure of the US government":        {audiences: []string{"api://AzureADTokenExchangeUSGov"}},
	"Chainguard":                        {audiences: []string{"https://issuer.enforce.dev"}},
	"Chainguard as its predecessor":     {audiences: []string{"issuer.enforce.dev"}},
	"Quay":                              {audiences: []string{"quay.io"}},
	"Docker Hub":                        {audiences: []string{"https://identity.docker.com"}},
	"for an hour":                       {audiences: []string{"quay.io"}, change: func(s *authenticationv1.TokenRequestSpec) { s.ExpirationSeconds = ptr.To(int64(3600)) }},
	"for two hours":                     {audiences: []string{"quay.io"}, change: func(s *authenticationv1.TokenRequestSpec) { s.ExpirationSeconds = ptr.To(int64(3601)) }, says: unbound},
	"the API server, unsaid":            {says: lacks("https://kubernetes.default.svc")},
	"the API server, by its name":       {audiences: []string{"https://kubernetes.default.svc"}, says: lacks("https://kubernetes.default.svc")},
	"the API server beside AWS":         {audiences: []string{"sts.amazonaws.com", "https://kubernetes.default.svc"}, says: lacks("sts.amazonaws.com https://kubernetes.default.svc")},
	"anyone":                            {audiences: []string{"vault"}, says: lacks("vault")},
	"nobody":                            {audiences: []string{""}, says: lacks("")},
	"who is called so at the beginning": {audiences: []string{"sts.amazonaws.com.example.com"}, says: lacks("sts.amazonaws.com.example.com")},
	"who is called so at the end":       {audiences: []string{"not.quay.io"}, says: lacks("not.quay.io")},
	"who has a prefix in the middle":    {audiences: []string{"xhttps://iam.googleapis.com/"}, says: lacks("xhttps://iam.googleapis.com/")},
}

const unbound = "it mints tokens that are bound to no object and good for an hour at most"

// lacks is what the refusal of audiences says.
func lacks(audiences string) string {
	return "it mints tokens for one audience of fence.audiences only (chart), which lacks '" + audiences + "': add it, if that is whom the token is for"
}

func fencedTokens(t *testing.T, captive kubernetes.Interface) {
	account := create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace(t), Name: "app"}})
	mint := func(spec authenticationv1.TokenRequestSpec) error {
		_, err := captive.CoreV1().ServiceAccounts(account.Namespace).CreateToken(t.Context(), account.Name,
			&authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
		return err
	}
	for sentence, test := range fencedRequests {
		t.Run("for "+sentence, func(t *testing.T) {
			spec := authenticationv1.TokenRequestSpec{Audiences: test.audiences}
			if test.change != nil {
				test.change(&spec)
			}
			expectFenced(t, mint(spec), test.says)
		})
	}
	t.Run("bound to an object", func(t *testing.T) {
		bound := create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: "bound"}})
		err := mint(authenticationv1.TokenRequestSpec{
			Audiences:      []string{"quay.io"},
			BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: bound.Name, UID: bound.UID},
		})
		expectFenced(t, err, unbound)
	})
}

// noWarnings checks what the API server's type checker found in the policies.
func noWarnings(t *testing.T) {
	t.Helper()
	eventually(t, "the policies are type-checked", func() error {
		var policies admissionv1.ValidatingAdmissionPolicyList
		if err := shared.api.List(t.Context(), &policies); err != nil {
			return err
		}
		if len(policies.Items) != 3 {
			return fmt.Errorf("there are %d policies", len(policies.Items))
		}
		for _, policy := range policies.Items {
			if policy.Status.ObservedGeneration != policy.Generation || policy.Status.TypeChecking == nil {
				return fmt.Errorf("%s was not checked yet", policy.Name)
			}
			if warnings := policy.Status.TypeChecking.ExpressionWarnings; len(warnings) > 0 {
				return fmt.Errorf("%s: %v", policy.Name, warnings)
			}
		}
		return nil
	})
}

// refusedToken runs the operator with a source whose audience is on no list.
func refusedToken(t *testing.T, own *cluster.Cluster) {
	trusted(t, own)
	runOperator(t, own)
	id, label := identity(t), unique("label")
	namespace(t, label, "yes")
	made := object(t, "pull", label, federation.Quay(shared.cloud, id, number()).Entry)
	audience := string(made.Spec.Registry.Credentials[0].Quay.Registry)
	message := expectCondition(t, made.Name, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDenied)
	if !strings.Contains(message, lacks(audience)) {
		t.Errorf("the message is %q", message)
	}
}

// A Secret of another type stands in the way of conflictPolicy Overwrite, and the
// fence does not let it go: status says which value to set.
func TestFenceKeepsWhatOverwriteWouldReplace(t *testing.T) {
	own := ownCluster(t, func(ctx context.Context, c *cluster.Cluster) error {
		return operator.Install(ctx, c.Config(), operator.Fence{})
	})
	awaitFence(t, captiveOf(t, own), "secrets")
	runOperator(t, own)
	label := unique("label")
	taken, free := namespace(t, label, "yes"), namespace(t, label, "yes")
	stood := create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: taken, Name: "pull"}, StringData: map[string]string{"a": "b"}})
	made := newObject("pull", label, staticSource(t, free, goodRegistry))
	made.Spec.Target.ConflictPolicy = v1alpha1.ConflictOverwrite
	create(t, made)
	expectSecret(t, free, "pull", goodRegistry)
	expectSaying(t, made.Name, v1alpha1.ConditionReady, v1alpha1.ReasonWriteFailed, notDeleted)
	expectUntouched(t, stood)

	// Who deletes it himself has what he wants.
	if err := shared.api.Delete(t.Context(), stood); err != nil {
		t.Fatal(err)
	}
	update(t, made.Name, func(object *v1alpha1.ImagePullSecret) {
		object.Spec.Target.Secret.Labels = map[string]v1alpha1.LabelValue{"again": "yes"}
	})
	expectSecret(t, taken, "pull", goodRegistry)
	expectReady(t, made.Name, 2)
}
