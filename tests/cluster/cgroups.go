package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// cgroupsTimeout is how long killed processes may stay in their cgroups.
const cgroupsTimeout = 10 * time.Second

// removePodCgroups removes the cgroups that a kubelet makes for Pods, which
// nothing else removes. The kernel keeps those that have processes: then there
// is another kubelet.
func removePodCgroups(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cgroupsTimeout)
	defer cancel()
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		err := tryRemovePodCgroups()
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another kubelet works on this machine: %w", err)
		case <-ticker.C:
		}
	}
}

func tryRemovePodCgroups() error {
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"} { // version 2 and 1
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	var errs []error
	for _, root := range all {
		errs = append(errs, removeCgroup(root))
	}
	return errors.Join(errs...)
}

// removeCgroup removes a cgroup and those below, of which each must be removed
// before the one above.
func removeCgroup(root string) error {
	var below []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			below = append(below, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range slices.Backward(below) {
		// Not os.Remove, whose error would be about unlink.
		if err := syscall.Rmdir(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &os.PathError{Op: "rmdir", Path: path, Err: err}
		}
	}
	return nil
}
