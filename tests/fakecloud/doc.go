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
// protocol. aws_sts.go, aws_ecr.go and registry.go are the three there are. To
// add one, write that file, give it a [Service] name in service.go and list it in
// newBackends in cloud.go; routing, certificates, faults and counting follow.
package fakecloud
