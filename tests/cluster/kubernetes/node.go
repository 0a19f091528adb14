//go:build !controlplane

package main

import (
	"context"

	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// nodeComponents are what a node needs beside the control plane.
var nodeComponents = map[string]func(){
	"kube-scheduler": func() { run(scheduler.NewSchedulerCommand()) },
	"kube-proxy":     func() { run(proxy.NewProxyCommand()) },
	"kubelet":        func() { run(kubelet.NewKubeletCommand(context.Background())) },
}
