//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

func TestTheKubeletPullsPrivateImagesWithALoginOnly(t *testing.T) {
	image := pushPause(t, "team/base:1")
	namespace := makeNamespace(t, "base-")
	without := makePod(t, namespace, image)
	eventually(t, "the pull without a login fails", func(ctx context.Context) error {
		events, err := eventsOf(ctx, without)
		if err != nil {
			return err
		}
		for _, event := range events {
			if event.Reason == "Failed" && strings.Contains(event.Message, "no basic auth credentials") {
				return nil
			}
		}
		return fmt.Errorf("its events are %s", listed(events))
	})
	createLogin(t, namespace, "pull")
	with := makePod(t, namespace, image, "pull")
	isPulledAtOnce(t, with)
}
