package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const recordSuffix = ".cluster"

// records is a directory that holds one small file for each cluster of this
// user. The file names the cluster's directory, and the process that started
// the cluster keeps it locked. The kernel releases the lock when that process
// ends, so a record whose lock is free tells of a leftover, and no process ID
// that may meanwhile be another's has to be trusted.
type records struct{ dir string }

// add makes the record of a cluster. Closing the returned file without
// removing it declares the cluster a leftover.
func (r records) add(ctx context.Context, clusterDir string) (*os.File, error) {
	lock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	record, err := os.CreateTemp(r.dir, "*"+recordSuffix)
	if err != nil {
		return nil, fmt.Errorf("record the cluster: %w", err)
	}
	_, err = record.WriteString(clusterDir)
	if err == nil {
		_, err = tryLock(record) // free: nobody else knows the file
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("record the cluster: %w", err), os.Remove(record.Name()), record.Close())
	}
	return record, nil
}

// clean stops the processes and removes the directories of clusters whose
// owners have ended. One that cannot be stopped is only reported, for it does
// not stand in a new cluster's way, and is tried again next time.
func (r records) clean(ctx context.Context, progress *progress) error {
	lock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	paths, err := filepath.Glob(filepath.Join(r.dir, "*"+recordSuffix))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := cleanRecord(ctx, path, progress); err != nil {
			progress.printf("a cluster of an earlier run is still there: %v", err)
		}
	}
	return ctx.Err()
}

// lock keeps add and clean of other callers out, so that clean never finds a
// record that is made but not yet locked.
func (r records) lock(ctx context.Context) (*os.File, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of cluster records: %w", err)
	}
	return lockFile(ctx, filepath.Join(r.dir, "lock"), func() {})
}

func cleanRecord(ctx context.Context, path string, progress *progress) error {
	record, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // its owner stopped the cluster just now
	}
	if err != nil {
		return err
	}
	defer record.Close()
	if orphaned, err := tryLock(record); err != nil || !orphaned {
		return err
	}
	content, err := io.ReadAll(record)
	if err != nil {
		return err
	}
	// Nothing but a directory that makeDir made may be removed, whatever the
	// record says; its owner may have ended before it wrote it.
	dir := string(content)
	if filepath.IsAbs(dir) && strings.HasPrefix(filepath.Base(dir), dirPrefix) {
		progress.printf("removing %s, which an earlier run left behind", dir)
		if err := errors.Join(stopProcesses(ctx, dir), os.RemoveAll(dir)); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// stopProcesses kills the components of the cluster in dir and returns once
// they have ended.
func stopProcesses(ctx context.Context, dir string) error {
	pids, err := processesOf(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		errs = append(errs, killProcess(ctx, pid, dir))
	}
	return errors.Join(errs...)
}

// processesOf returns the components that run for the cluster in dir.
func processesOf(dir string) ([]int, error) {
	pids, err := processIDs()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return !belongsTo(commandLine(pid), dir) }), nil
}

// belongsTo reports whether a command line is that of a component of the
// cluster in dir. The path alone is not enough, or a pager that shows a log
// would be killed too.
func belongsTo(args []string, dir string) bool {
	isComponent := slices.ContainsFunc(args[:min(2, len(args))], func(arg string) bool {
		return slices.Contains([]string{etcd, kubeAPIServer, kubeControllerManager, kubeScheduler}, filepath.Base(arg))
	})
	return isComponent && slices.ContainsFunc(args, func(arg string) bool {
		return strings.HasPrefix(arg, "--") && strings.Contains(arg, "="+dir+string(filepath.Separator))
	})
}

func killProcess(ctx context.Context, pid int, dir string) error {
	// On Linux the handle stays with this very process, so the check after it
	// holds for what is killed, even if the number is given away meanwhile.
	process, err := os.FindProcess(pid)
	if err != nil || !belongsTo(commandLine(pid), dir) {
		return nil // it has ended
	}
	defer func() { _ = process.Release() }()
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill leftover process %d of %s: %w", pid, dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, killGrace)
	defer cancel()
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for belongsTo(commandLine(pid), dir) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for killed process %d of %s: %w", pid, dir, ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}
