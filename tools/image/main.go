// Command image packs the operator's binaries into a multi-arch OCI image,
// without docker and without root. It notes nothing of the machine and the time
// that it runs at: the same binaries and flags give the same bytes.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

const usage = `image packs the operator's binaries into an OCI image. Commands:

  image write -out DIR -name IMAGE -version V -revision COMMIT -created TIME BINARY...
      Write into DIR: image/, an OCI image layout; the same as an archive; each
      binary and, as CycloneDX, what it consists of.
  image check -out DIR -version V -revision COMMIT -created TIME
      Fail unless image/ holds what it should; run the binary in it.
  image push -out DIR IMAGE
      Send image/ to a registry.
  image archive -created TIME DIR FILE
      Write everything in DIR into FILE, a tar archive: the same each time.
  image sums DIR
      Write DIR/SHA256SUMS over all files in DIR and below.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// subcommand is one of the tool's.
type subcommand struct {
	arguments int  // how many it takes
	more      bool // or more than that
	run       func(ctx context.Context, o options, arguments []string, out io.Writer) error
}

var subcommands = map[string]subcommand{
	"write": {arguments: 1, more: true, run: func(_ context.Context, o options, binaries []string, out io.Writer) error {
		return write(o, binaries, out)
	}},
	"check": {run: func(ctx context.Context, o options, _ []string, out io.Writer) error {
		r, err := o.release()
		if err != nil {
			return err
		}
		return check(ctx, o.layout(), r, out)
	}},
	"push": {arguments: 1, run: func(ctx context.Context, o options, arguments []string, out io.Writer) error {
		return push(ctx, o.layout(), arguments[0], out)
	}},
	"archive": {arguments: 2, run: func(_ context.Context, o options, arguments []string, _ io.Writer) error {
		created, err := o.time()
		if err != nil {
			return err
		}
		return archive(arguments[0], arguments[1], created)
	}},
	"sums": {arguments: 1, run: func(_ context.Context, _ options, arguments []string, _ io.Writer) error {
		return writeSums(arguments[0])
	}},
}

// run carries out a command line.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return wrong(args)
	}
	o := options{}
	flags := o.flags()
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	called, ok := subcommands[args[0]]
	rest := flags.Args()
	if !ok || len(rest) < called.arguments || len(rest) > called.arguments && !called.more {
		return wrong(args)
	}
	return called.run(ctx, o, rest, out)
}

func wrong(args []string) error {
	return fmt.Errorf("there is no %q like this\n%s", append([]string{"image"}, args...), usage)
}

// options are the flags of all commands.
type options struct {
	out, name, version, revision, created string
}

func (o *options) flags() *flag.FlagSet {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&o.out, "out", "dist", "the `directory` that everything is written into")
	flags.StringVar(&o.name, "name", "", "what the image is to be known by: `registry/repository:tag`")
	flags.StringVar(&o.version, "version", "", "the `version` that the binaries tell")
	flags.StringVar(&o.revision, "revision", "", "the `commit` that they were built from")
	flags.StringVar(&o.created, "created", "", "its `date`, in RFC 3339")
	return flags
}

// layout is where the image is.
func (o *options) layout() string { return filepath.Join(o.out, "image") }

// release returns what the flags say of the image's origin, all of which has
// to be known.
func (o *options) release() (release, error) {
	if o.version == "" || o.revision == "" {
		return release{}, errors.New("-version and -revision must say what was built (make: VERSION, COMMIT; git knows them in a checkout)")
	}
	created, err := o.time()
	if err != nil {
		return release{}, err
	}
	return release{version: o.version, revision: o.revision, created: created}, nil
}

// time returns the date of the commit.
func (o *options) time() (time.Time, error) {
	created, err := time.Parse(time.RFC3339, o.created)
	if err != nil {
		return time.Time{}, fmt.Errorf("-created must be the commit's date (make: DATE; git knows it in a checkout): %w", err)
	}
	return created.UTC(), nil
}

// write makes the image and what stands beside it.
func write(o options, paths []string, out io.Writer) error {
	r, err := o.release()
	if err != nil {
		return err
	}
	binaries, err := readBinaries(paths)
	if err != nil {
		return err
	}
	index, err := operatorIndex(binaries, r)
	if err != nil {
		return err
	}
	if err := writeLayout(o.layout(), index, o.name); err != nil {
		return err
	}
	prefix := filepath.Join(o.out, binaryPath+"-"+strings.TrimPrefix(r.version, "v"))
	if err := archive(o.layout(), prefix+".oci.tar", r.created); err != nil {
		return err
	}
	for _, b := range binaries {
		if err := writeBeside(prefix+"-"+b.platform.OS+"-"+b.platform.Architecture, b, r); err != nil {
			return err
		}
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s@%s\n", o.name, digest)
	return nil
}

// writeBeside writes a binary to path, and what it consists of beside it.
func writeBeside(path string, b binary, r release) error {
	tool, _ := debug.ReadBuildInfo()
	var bom bytes.Buffer
	if err := writeSBOM(&bom, b, tool, r); err != nil {
		return err
	}
	if err := os.WriteFile(path, b.content, 0o755); err != nil { //nolint:gosec // everybody may run it
		return err
	}
	return os.WriteFile(path+".cdx.json", bom.Bytes(), 0o644) //nolint:gosec // everybody may read it
}
