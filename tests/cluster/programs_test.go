package cluster

import (
	"strings"
	"testing"
)

func TestWithoutANodeNoProgramRunsOnIt(t *testing.T) {
	_, err := (&Cluster{}).StartOnNode("olm", []string{"true"})
	if err == nil || !strings.Contains(err.Error(), "the cluster has no node to run olm on") {
		t.Errorf("got %v", err)
	}
}
