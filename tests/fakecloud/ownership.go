package fakecloud

import "fmt"

// claimHost makes sure that host is free for a service that a test adds. It may be
// a registry as well. It panics if another service has it.
func (c *Cloud) claimHost(host string, by backend) {
	if owner := c.backendFor(host); owner != nil && owner != by && owner != backend(c.registry) {
		panic(fmt.Sprintf("fakecloud: the host %q belongs to %s already", host, owner.service()))
	}
}

// claimRegistries makes sure that registries are free for the doorkeeper to which
// a test adds them. It panics if another keeps one of them.
func (c *Cloud) claimRegistries(hosts []string, by doorkeeper) {
	for _, host := range hosts {
		if door, _, ok := c.registry.door(host); ok && door != by {
			panic(fmt.Sprintf("fakecloud: the registry %q belongs to another service already", host))
		}
	}
}
