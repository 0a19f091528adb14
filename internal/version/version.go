// Package version knows which build this is.
package version

// version is set by the linker: -X …/internal/version.version=v1.2.3.
var version = "dev"

// Version returns the build's version, such as v1.2.3, or dev.
func Version() string { return version }
