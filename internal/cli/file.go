package cli

import (
	"bytes"
	"context"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// fileInterval is how often a file is looked at. A mounted Secret is replaced by
// way of links, and on some file systems nothing else tells of a change.
const fileInterval = time.Second

// watchFile tells, until ctx ends, when a file's content is another one, or it
// came or went.
func watchFile(ctx context.Context, name string) <-chan struct{} {
	changed := make(chan struct{}, 1)
	last, lastErr := os.ReadFile(name)
	go func() {
		_ = wait.PollUntilContextCancel(ctx, fileInterval, false, func(context.Context) (bool, error) {
			content, err := os.ReadFile(name)
			if bytes.Equal(content, last) && (err == nil) == (lastErr == nil) {
				return false, nil
			}
			last, lastErr = content, err
			select {
			case changed <- struct{}{}:
			default: // one that nobody has taken yet tells of this change too
			}
			return false, nil
		})
	}()
	return changed
}
