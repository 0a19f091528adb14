package annotatedaccount

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

const (
	ecrRegistry = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"
	role        = "arn:aws:iam::111122223333:role/pull"
	pool        = "projects/1/locations/global/workloadIdentityPools/p/providers/k"
)

// annotated returns a ServiceAccount with annotations; keys without a slash are
// those of image-pull-secrets-provisioner.
func annotated(name string, annotations map[string]string) *corev1.ServiceAccount {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: "uid", Annotations: map[string]string{}}}
	for key, value := range annotations {
		if !strings.Contains(key, "/") {
			key = "imagepullsecrets.preferred.jp/" + key
		}
		account.Annotations[key] = value
	}
	return account
}

func TestRead(t *testing.T) {
	google := map[string]string{"registry": "europe-docker.pkg.dev", "audience": "a", "googlecloud-workload-identity-provider": pool}
	with := func(more map[string]string, base map[string]string) map[string]string {
		all := map[string]string{}
		for _, some := range []map[string]string{base, more} {
			for key, value := range some {
				all[key] = value
			}
		}
		return all
	}
	account := v1alpha1.ServiceAccountReference{Namespace: "team", Name: "app"}
	for sentence, test := range map[string]struct {
		annotations map[string]string
		names       []string
		first       func(v1alpha1.CredentialSource) bool
	}{
		"a role gives one Secret": {
			map[string]string{"registry": ecrRegistry, "audience": "sts.amazonaws.com", "aws-role-arn": role},
			[]string{"imagepullsecret-app"},
			func(s v1alpha1.CredentialSource) bool {
				return s.ECR != nil && s.ECR.AccountID == "111122223333" && s.ECR.Region == "eu-central-1" && !s.ECR.UseFIPS && !s.ECR.UseDualStack &&
					string(s.ECR.RoleARN) == role && *s.ECR.ServiceAccount == account && s.ECR.Audience == "sts.amazonaws.com" && s.ECR.Registries[0] == ecrRegistry
			},
		},
		"a FIPS and dual-stack host": {
			map[string]string{"registry": "111122223333.dkr-ecr-fips.us-east-1.on.aws", "aws-role-arn": role},
			[]string{"imagepullsecret-app"},
			func(s v1alpha1.CredentialSource) bool {
				return s.ECR.UseFIPS && s.ECR.UseDualStack && s.ECR.Region == "us-east-1"
			},
		},
		"roles are separated by commas, trimmed, and counted once": {
			map[string]string{"registry": ecrRegistry, "aws-role-arn": role + " , " + role + "2,," + role},
			[]string{"imagepullsecret-app", "imagepullsecret-app-1"},
			func(s v1alpha1.CredentialSource) bool { return string(s.ECR.RoleARN) == role },
		},
		"a name of its own, with indices": {
			map[string]string{"registry": ecrRegistry, "aws-role-arn": role + "," + role + "2", "secret-name": " mine "},
			[]string{"mine", "mine-1"}, nil,
		},
		"an empty name is none": {
			map[string]string{"registry": ecrRegistry, "aws-role-arn": role, "secret-name": ""},
			[]string{"imagepullsecret-app"}, nil,
		},
		"a Google service account": {
			with(map[string]string{"googlecloud-service-account-email": "a@p.iam.gserviceaccount.com"}, google),
			[]string{"imagepullsecret-app"},
			func(s v1alpha1.CredentialSource) bool {
				g := s.GoogleArtifactRegistry
				return g.GoogleServiceAccount == "a@p.iam.gserviceaccount.com" && g.WorkloadIdentityProvider == pool && g.Audience == "a" &&
					g.Registries[0] == "europe-docker.pkg.dev" && *g.ServiceAccount == account
			},
		},
		"a Google provider alone federates directly": {
			google, []string{"imagepullsecret-app"},
			func(s v1alpha1.CredentialSource) bool {
				return s.GoogleArtifactRegistry.GoogleServiceAccount == "" && s.GoogleArtifactRegistry.WorkloadIdentityProvider == pool
			},
		},
		"AWS goes before Google": {
			with(map[string]string{"registry": ecrRegistry, "aws-role-arn": role}, google), []string{"imagepullsecret-app"},
			func(s v1alpha1.CredentialSource) bool { return s.ECR != nil },
		},
		"Chainguard, at its registry by default": {
			map[string]string{"images.banzaicloud.io/chainguard-identity": "abc/def"}, []string{"imagepullsecret-app"},
			func(s v1alpha1.CredentialSource) bool {
				return s.Chainguard.Identity == "abc/def" && s.Chainguard.Registries[0] == "cgr.dev"
			},
		},
		"Azure": {
			map[string]string{"registry": "x.azurecr.io", "images.banzaicloud.io/azure-client-id": "c", "images.banzaicloud.io/azure-tenant-id": "t"},
			[]string{"imagepullsecret-app"},
			func(s v1alpha1.CredentialSource) bool {
				return s.AzureContainerRegistry.ClientID == "c" && s.AzureContainerRegistry.TenantID == "t"
			},
		},
		"Quay, in the cloud by default": {
			map[string]string{"images.banzaicloud.io/quay-robot": "o+r"}, []string{"imagepullsecret-app"},
			func(s v1alpha1.CredentialSource) bool { return s.Quay.Registry == "quay.io" && s.Quay.Robot == "o+r" },
		},
		"nothing of ours": {map[string]string{"example.com/registry": "x"}, nil, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			asks, problem := read(annotated("app", test.annotations))
			if problem != "" {
				t.Fatal(problem)
			}
			var names []string
			for _, one := range asks {
				if one.Invalid != "" {
					t.Error(one.Invalid)
				}
				names = append(names, one.SecretName)
			}
			if strings.Join(names, " ") != strings.Join(test.names, " ") {
				t.Errorf("Secrets are %v, want %v", names, test.names)
			}
			if test.first != nil && !test.first(asks[0].Entry) {
				t.Errorf("the first entry is %+v", asks[0].Entry)
			}
		})
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	for sentence, test := range map[string]struct {
		annotations map[string]string
		says        []string
	}{
		"a registry and nobody":            {map[string]string{"registry": ecrRegistry}, []string{"imagepullsecrets.preferred.jp/registry", "add imagepullsecrets.preferred.jp/aws-role-arn"}},
		"a role and no registry":           {map[string]string{"aws-role-arn": role}, []string{"aws-role-arn needs imagepullsecrets.preferred.jp/registry"}},
		"an email and no provider":         {map[string]string{"registry": "gcr.io", "googlecloud-service-account-email": "a@b"}, []string{"googlecloud-service-account-email needs", "workload-identity-provider"}},
		"an Azure client without a tenant": {map[string]string{"registry": "x.azurecr.io", "images.banzaicloud.io/azure-client-id": "c"}, []string{"azure-tenant-id"}},
		"an ECR role for another host":     {map[string]string{"registry": "registry.example.com", "aws-role-arn": role}, []string{`"registry.example.com" is not the host of an ECR registry`}},
		"a Quay of one's own":              {map[string]string{"registry": "quay.evil.example", "images.banzaicloud.io/quay-robot": "o+r"}, []string{"is not quay.io"}},
		"no name of a Secret":              {map[string]string{"registry": ecrRegistry, "aws-role-arn": role, "secret-name": "Not_One"}, []string{"secret-name", `"Not_One"`}},
	} {
		t.Run(sentence, func(t *testing.T) {
			asks, problem := read(annotated("app", test.annotations))
			for _, one := range asks {
				problem += one.Invalid
			}
			for _, part := range test.says {
				if !strings.Contains(problem, part) {
					t.Errorf("%q is missing in %q", part, problem)
				}
			}
		})
	}
}

// What a ServiceAccount may be called is longer than what a label says, and
// with an index than what a Secret is called.
func TestLongNamesOfServiceAccountsWork(t *testing.T) {
	long := strings.Repeat("a", 62) + "." + strings.Repeat("b", 190)
	for index := range 12 {
		name := secretName("", long, index)
		if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 || name == secretName("", long, index+1) {
			t.Errorf("%q: %v", name, wrong)
		}
	}
	for _, name := range []string{long, long[:62], long[:64], "app", strings.Repeat("a", 53) + ".bcdefghijklm"} {
		if wrong := validation.IsValidLabelValue(labelValue(name)); len(wrong) > 0 {
			t.Errorf("%q: %v", labelValue(name), wrong)
		}
	}
	if labelValue(long) == labelValue(long+"c") || labelValue("app") != "app" {
		t.Error("a label's value is not that name's")
	}
}
