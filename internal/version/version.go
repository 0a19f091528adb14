// Package version knows which build this is.
package version

import (
	"runtime/debug"
	"strings"
)

// Set by the linker (-X …/internal/version.version=v1.2.3); see build.
var version, commit, date string

// build is what tells one build from another. What is not known is empty,
// except for the version, which is dev then.
type build struct {
	version string // such as v1.2.3
	commit  string // the whole hash, followed by -dirty if the files differed from it
	date    string // of the commit, not of the build, in RFC 3339 and UTC
}

// Version returns the build's version, such as v1.2.3, or dev.
func Version() string { return current().version }

// Commit returns the hash of the commit that was built, followed by -dirty if
// the files differed from it; empty if it is not known.
func Commit() string { return current().commit }

// Date returns the time of the commit that was built, in RFC 3339; empty if it
// is not known. The time of the build is nowhere, for the same sources give the
// same binary.
func Date() string { return current().date }

// Describe returns all of it in one line, such as
// v1.2.3 (commit 5f3c…, 2026-11-20T10:00:00Z).
func Describe() string { return current().describe() }

func current() build {
	info, _ := debug.ReadBuildInfo()
	return resolve(build{version: version, commit: commit, date: date}, info)
}

// resolve returns what the linker was told, and what Go noted in the binary
// where it was told nothing: by `go build` in a checkout, or `go install` of a
// version. info may be nil.
func resolve(linked build, info *debug.BuildInfo) build {
	noted := build{version: "dev"}
	if info != nil {
		noted = notedBy(info)
	}
	if linked.version == "" {
		linked.version = noted.version
	}
	if linked.commit == "" {
		linked.commit = noted.commit
	}
	if linked.date == "" {
		linked.date = noted.date
	}
	return linked
}

func notedBy(info *debug.BuildInfo) build {
	noted := build{version: info.Main.Version}
	if noted.version == "" || noted.version == "(devel)" {
		noted.version = "dev"
	}
	modified := false
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			noted.commit = setting.Value
		case "vcs.time":
			noted.date = setting.Value
		case "vcs.modified":
			modified = setting.Value == "true"
		}
	}
	if modified && noted.commit != "" {
		noted.commit += "-dirty"
	}
	return noted
}

func (b build) describe() string {
	var details []string
	if b.commit != "" {
		details = append(details, "commit "+b.commit)
	}
	if b.date != "" {
		details = append(details, b.date)
	}
	if len(details) == 0 {
		return b.version
	}
	return b.version + " (" + strings.Join(details, ", ") + ")"
}
