package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// What figure e is measured beside.
const (
	memoryNamespaces = 1000
	foreignSecrets   = 10_000
	hugeSecrets      = 100_000
	pods             = 10_000

	memoryTarget = 39 // MiB
	hugeTarget   = 64 // MiB
)

// measureMemory takes figure e: the most memory that the operator's process
// ever had, from its start over a first fan-out, a rotation and new
// namespaces, beside Secrets and Pods that are none of its business.
func (b *bench) measureMemory(ctx context.Context) (err error) {
	w, err := b.newWorld(ctx, memoryNamespaces)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.plain.createForeignSecrets(ctx, w.n, 0, foreignSecrets); err != nil {
		return err
	}
	if err := w.plain.createPods(ctx, w.n, pods); err != nil {
		return err
	}
	beside := fmt.Sprintf("beside %d foreign Secrets and %d Pods", foreignSecrets, pods)
	if err := w.limitedPeak(ctx, "peak RSS "+beside, memoryTarget, byNamespaceLabel); err != nil {
		return err
	}
	if err := w.limitedPeak(ctx, "peak RSS "+beside+", selecting by Pods", memoryTarget, byPodLabel); err != nil {
		return err
	}
	if !b.settings.huge {
		return nil
	}
	if err := w.plain.createForeignSecrets(ctx, w.n, foreignSecrets, hugeSecrets); err != nil {
		return err
	}
	return w.limitedPeak(ctx, fmt.Sprintf("peak RSS beside %d foreign Secrets", hugeSecrets), hugeTarget, byNamespaceLabel)
}

// limitedPeak adds a peak that has a limit to figure e.
func (w *world) limitedPeak(ctx context.Context, what string, target int, selecting func(*v1alpha1.TargetConfig)) error {
	found, err := w.peak(ctx, what, selecting)
	if err != nil {
		return err
	}
	w.results.below("e", w.n, what, found["VmHWM"], float64(target), "MiB", found.String())
	return nil
}

// measurePods takes figure j: the memory that very many Pods cost, all of which
// one ImagePullSecret selects by, in place of one that does not.
func (b *bench) measurePods(ctx context.Context) (err error) {
	w, err := b.newWorld(ctx, memoryNamespaces)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	begin := time.Now()
	if err := w.plain.createPods(ctx, w.n, b.settings.pods); err != nil {
		return err
	}
	b.progress.printf("creating the Pods took %s", short(time.Since(begin)))
	what := fmt.Sprintf("peak RSS beside %d Pods", b.settings.pods)
	without, err := w.peak(ctx, what, byNamespaceLabel)
	if err != nil {
		return err
	}
	with, err := w.peak(ctx, what+", selecting by Pods", byPodLabel)
	if err != nil {
		return err
	}
	each := func(of string) float64 { return (with[of] - without[of]) * 1024 / float64(b.settings.pods) }
	b.results.info("j", w.n, what+", none selects by Pods", fmt.Sprintf("%.1f MiB", without["VmHWM"]), without.String())
	b.results.info("j", w.n, what+", one selects by Pods", fmt.Sprintf("%.1f MiB", with["VmHWM"]),
		fmt.Sprintf("%s; for each Pod %.2f KiB more at the peak, %.2f KiB now", with, each("VmHWM"), each("VmRSS")))
	return nil
}

// peak lets a new process of the operator do its usual work, and returns its
// memory then.
func (w *world) peak(ctx context.Context, what string, selecting func(*v1alpha1.TargetConfig)) (memory, error) {
	if err := w.operator.Stop(); err != nil {
		return nil, err
	}
	if err := w.quiet(ctx); err != nil {
		return nil, err
	}
	if err := w.startOperator(ctx); err != nil {
		return nil, err
	}
	err := w.progress.during("measuring "+what, w.kept.describe, func() error {
		if err := w.grant(ctx, staticSource, selecting); err != nil {
			return err
		}
		if _, err := w.kept.await(ctx, w.kept.all(w.n)); err != nil {
			return err
		}
		from, _ := w.kept.current()
		if err := w.changeSource(ctx); err != nil {
			return err
		}
		_, err := w.kept.await(ctx, w.kept.rotated(w.n, from))
		return err
	})
	if err = errors.Join(err, w.quiet(ctx)); err != nil {
		return nil, err
	}
	found, err := w.memory()
	if err != nil {
		return nil, err
	}
	return found, w.ungrant(ctx)
}

// tellMemory adds the operator's peak to the table, without a target.
func (w *world) tellMemory(n int, what string) error {
	memory, err := w.memory()
	if err != nil {
		return err
	}
	w.results.info("d", n, what, fmt.Sprintf("%.1f MiB", memory["VmHWM"]), memory.String())
	return nil
}

// memory is what the kernel tells of a process's memory, in MiB.
type memory map[string]float64

// String says what the process has now, beside its peak.
func (m memory) String() string {
	return fmt.Sprintf("now %.1f MiB: %.1f of its own, %.1f of its program's file", m["VmRSS"], m["RssAnon"], m["RssFile"])
}

// memory reads the operator's memory.
func (w *world) memory() (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.operator.Pid()))
	if err != nil {
		return nil, fmt.Errorf("reading the operator's memory, which takes Linux: %w", err)
	}
	found := memory{}
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if len(words) == 3 && words[2] == "kB" {
			kib, err := strconv.ParseFloat(words[1], 64)
			if err != nil {
				return nil, err
			}
			found[strings.TrimSuffix(words[0], ":")] = kib / 1024
		}
	}
	return found, nil
}
