// Package fakecloud is an honest fake of the clouds that issue registry
// credentials, and of the registries that honour them.
//
// It is honest because it checks what the real services check: request
// signatures, trust, permissions and expiry. Its tokens are random, its registry
// serves an image only for a token that this cloud issued and that is still
// valid. It is reached under the real host names through an HTTPS proxy and a
// certificate authority of its own, so the program under test needs no test
// switch: [Cloud.Env] is all that it is given. Nothing ever leaves loopback.
//
// Each service is a backend: one type, in one file named for it, that says which
// host names it owns, how it answers, and what a fault looks like in its
// protocol. aws_sts.go is one, quay.go another. To add one, write that file, give it
// a [Service] name in service.go and list it in newBackends in cloud.go; routing,
// certificates, faults and counting follow. A backend whose logins open registries
// is a doorkeeper, too, and listed in newDoorkeepers.
//
// Services that exchange the tokens of ServiceAccounts verify them against the keys
// of a running API server, which [Cloud.AddIssuer] makes known, and trust those that
// the test tells them to: AWS by a web identity in a [Trust], Google by a
// [WorkloadIdentityProvider], Chainguard by a [ChainguardIdentity], Azure by an
// [AzureApplication], Quay by a [QuayRobot], JFrog by a [JFrogProvider], Docker Hub
// by a [DockerHubConnection] and any server of RFC 8693 by a [TokenServer].
//
// Processes that have an identity from where they run get it at an endpoint on
// loopback: see [Cloud.PodIdentityEnv], [Cloud.InstanceRoleEnv] and
// [Cloud.MetadataServerEnv].
package fakecloud
