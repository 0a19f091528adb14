package federation

import (
	"fmt"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// AWSRegion is a region of one of AWS's partitions, and by which of its
// endpoints a source of it goes.
type AWSRegion struct {
	// Partition is where its identities are, such as aws-cn.
	Partition string
	// Name is that of the region, such as cn-north-1.
	Name string
	// Domain is that of its registries, such as amazonaws.com.cn.
	Domain string
	// FIPS and DualStack are the source's useFIPS and useDualStack.
	FIPS, DualStack bool
}

// frankfurt is where sources are that don't say otherwise.
var frankfurt = AWSRegion{Partition: "aws", Name: "eu-central-1", Domain: "amazonaws.com"}

// role makes a role that trusts an identity and returns its ARN.
func (r AWSRegion) role(cloud *fakecloud.Cloud, id Identity, account string) string {
	cloud.AddOIDCProvider(account, id.Issuer, "sts.amazonaws.com")
	arn := r.roleARN(account, id.Namespace+"."+id.Name)
	cloud.AddRole(arn, fakecloud.Trust{WebIdentities: []fakecloud.WebIdentity{
		{Issuer: id.Issuer, Audience: "sts.amazonaws.com", Subject: id.Subject()},
	}})
	return arn
}

func (r AWSRegion) roleARN(account, name string) string {
	return fmt.Sprintf("arn:%s:iam::%s:role/%s", r.Partition, account, name)
}

func webIdentity(id Identity, roleARN string) v1alpha1.AWSIdentity {
	reference := id.Reference()
	return v1alpha1.AWSIdentity{ServiceAccount: &reference, RoleARN: v1alpha1.AWSRoleARN(roleARN)}
}

// source is the registry of an account, which an identity of AWS opens.
func (r AWSRegion) source(name, account string, identity v1alpha1.AWSIdentity) Source {
	return Source{
		Name: name,
		Entry: v1alpha1.CredentialSource{ECR: &v1alpha1.ECRSource{
			AWSIdentity: identity, AccountID: account, Region: r.Name, UseFIPS: r.FIPS, UseDualStack: r.DualStack,
		}},
		Registry: fmt.Sprintf("%s.dkr.ecr.%s.%s", account, r.Name, r.Domain), Service: fakecloud.STS,
	}
}

// ECR is a private registry of the region, opened by a role that trusts the
// identity.
func (r AWSRegion) ECR(cloud *fakecloud.Cloud, id Identity, number int) Source {
	account := fmt.Sprintf("%012d", 200000000000+number)
	arn := r.role(cloud, id, account)
	cloud.GrantECR(arn, account)
	return r.source("ECR", account, webIdentity(id, arn))
}

// ECRChained is the registry of another account, opened by a role there that
// the identity's role assumes with an external ID.
func (r AWSRegion) ECRChained(cloud *fakecloud.Cloud, id Identity, number int) Source {
	near, far := fmt.Sprintf("%012d", 300000000000+number), fmt.Sprintf("%012d", 400000000000+number)
	first, last := r.role(cloud, id, near), r.roleARN(far, "reader")
	cloud.AddRole(last, fakecloud.Trust{Principals: []string{first}, ExternalID: "external-" + far})
	cloud.GrantECR(last, far)
	identity := webIdentity(id, first)
	identity.AssumeRoles = []v1alpha1.AWSRole{{RoleARN: v1alpha1.AWSRoleARN(last), ExternalID: "external-" + far}}
	return r.source("ECR through a chain of roles", far, identity)
}

// ECR is [AWSRegion.ECR] of a commercial region.
func ECR(cloud *fakecloud.Cloud, id Identity, number int) Source {
	return frankfurt.ECR(cloud, id, number)
}

// ECRChained is [AWSRegion.ECRChained] of a commercial region.
func ECRChained(cloud *fakecloud.Cloud, id Identity, number int) Source {
	return frankfurt.ECRChained(cloud, id, number)
}

// ECRPublic is AWS's public gallery.
func ECRPublic(cloud *fakecloud.Cloud, id Identity, number int) Source {
	arn := frankfurt.role(cloud, id, fmt.Sprintf("%012d", 500000000000+number))
	cloud.GrantECRPublic(arn)
	return Source{
		Name:     "ECR Public",
		Entry:    v1alpha1.CredentialSource{ECRPublic: &v1alpha1.ECRPublicSource{AWSIdentity: webIdentity(id, arn)}},
		Registry: "public.ecr.aws", Service: fakecloud.STS,
	}
}
