//go:build controlplane

package main

// nodeComponents are none in older versions, of which nothing but the control
// plane is built.
var nodeComponents map[string]func()
