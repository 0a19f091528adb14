package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
)

// tokenLifetime is the shortened life of the story's first ECR tokens, and
// realTokenLifetime what AWS gives.
const (
	tokenLifetime     = 20 * time.Second
	realTokenLifetime = 12 * time.Hour
)

// applySources is step 3.
func (s *story) applySources(ctx context.Context) error {
	const team = "team-red"
	s.say("Already there: namespace " + team + ", labelled, with a Secret of its own; and the namespace of the sources.")
	if err := s.prepareNamespaces(ctx, team); err != nil {
		return err
	}
	s.cloud.SetTokenLifetime(tokenLifetime)
	s.say(fmt.Sprintf("ECR tokens live %.0f s instead of %.0f h for now, so that a renewal is soon.", tokenLifetime.Seconds(), realTokenLifetime.Hours()))
	if _, err := s.showAndApply(ctx, "sources.yaml", s.sources()); err != nil {
		return err
	}
	since := s.witness.now()
	applied, err := s.showAndApply(ctx, "imagepullsecret.yaml", values{})
	if err != nil {
		return err
	}
	seen, err := s.awaitSecret(ctx, since, team, "a Secret with both logins in "+team, complete)
	if err != nil {
		return err
	}
	s.holders = append(s.holders, team)
	s.saw(seen.at.Sub(applied), "%s got the Secret, the first AWS exchange included", team)
	return s.awaitReady(ctx)
}

// sources fill in the manifest of the source Secrets.
func (s *story) sources() values {
	return values{
		Namespace: sourceNamespace, AccessKeyID: s.key.ID, SecretKey: s.key.Secret, Account: ecrAccount, Region: ecrRegion,
		StaticHost: staticHost, User: staticUser, Password: s.passwords[0],
	}
}

// prepareNamespaces makes what is there before the operator is told anything.
func (s *story) prepareNamespaces(ctx context.Context, team string) error {
	if _, err := s.apply(ctx, "plain-namespace.yaml", values{Name: sourceNamespace}); err != nil {
		return err
	}
	if _, err := s.apply(ctx, "namespace.yaml", values{Name: team}); err != nil {
		return err
	}
	if _, err := s.apply(ctx, "foreign-secret.yaml", values{Name: foreignName, Namespace: team}); err != nil {
		return err
	}
	var foreign corev1.Secret
	if err := s.api.Get(ctx, client.ObjectKey{Namespace: team, Name: foreignName}, &foreign); err != nil {
		return fmt.Errorf("read the Secret that is not the operator's: %w", err)
	}
	s.foreign = foreign.UID
	return nil
}

// awaitReady waits until the object says that it is ready in every namespace,
// and shows it.
func (s *story) awaitReady(ctx context.Context) error {
	begin := time.Now()
	err := s.eventually(ctx, fmt.Sprintf("ImagePullSecret %s to be Ready in %d namespaces", objectName, len(s.holders)), patience, func(ctx context.Context) error {
		object, err := s.object(ctx)
		if err != nil {
			return err
		}
		ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReady)
		switch {
		case ready == nil:
			return errors.New("no status")
		case ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != object.Generation || int(object.Status.Targets.Ready) != len(s.holders):
			return fmt.Errorf("%s %s: %s (%d ready)", ready.Status, ready.Reason, ready.Message, object.Status.Targets.Ready)
		}
		s.objectUID = object.UID
		return nil
	})
	if err != nil {
		return err
	}
	s.saw(time.Since(begin), "the object's status says Ready in %s", namespaces(len(s.holders)))
	return s.showTable(ctx)
}

func namespaces(count int) string {
	if count == 1 {
		return "1 namespace"
	}
	return fmt.Sprintf("%d namespaces", count)
}

// object reads the ImagePullSecret.
func (s *story) object(ctx context.Context) (*v1alpha1.ImagePullSecret, error) {
	object := &v1alpha1.ImagePullSecret{}
	if err := s.api.Get(ctx, client.ObjectKey{Name: objectName}, object); err != nil {
		return nil, fmt.Errorf("read ImagePullSecret %s: %w", objectName, err)
	}
	return object, nil
}

// showTable prints what `kubectl get imps` would: the table that the API
// server makes of the CRD's columns.
func (s *story) showTable(ctx context.Context) error {
	answer, err := s.discovery.RESTClient().Get().AbsPath("/apis/images.banzaicloud.io/v1alpha1/imagepullsecrets").
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("get the table of ImagePullSecrets: %w", err)
	}
	var table metav1.Table
	if err := json.Unmarshal(answer, &table); err != nil {
		return fmt.Errorf("read the table of ImagePullSecrets: %w", err)
	}
	s.show("$ kubectl get imps\n" + tableText(table))
	return nil
}

// tableText lays a server-side table out as kubectl does.
func tableText(table metav1.Table) string {
	var heads []string
	for _, column := range table.ColumnDefinitions {
		if column.Priority == 0 {
			heads = append(heads, strings.ToUpper(column.Name))
		}
	}
	lines := [][]string{heads}
	for _, line := range table.Rows {
		var cells []string
		for i, cell := range line.Cells {
			if table.ColumnDefinitions[i].Priority == 0 {
				cells = append(cells, cellText(cell))
			}
		}
		lines = append(lines, cells)
	}
	return aligned(3, lines)
}

func cellText(cell any) string {
	if cell == nil {
		return "<none>"
	}
	return fmt.Sprint(cell)
}

const furtherNamespaces = 18

// addNamespaces is step 4.
func (s *story) addNamespaces(ctx context.Context) error {
	const team = "team-blue"
	since := s.witness.now()
	created, err := s.showAndApply(ctx, "namespace.yaml", values{Name: team})
	if err != nil {
		return err
	}
	seen, err := s.awaitSecret(ctx, since, team, "the Secret in "+team, complete)
	if err != nil {
		return err
	}
	s.holders = append(s.holders, team)
	s.saw(seen.at.Sub(created), "%s got the Secret, counted from its creation", team)

	slowest, err := s.addMany(ctx)
	if err != nil {
		return err
	}
	s.saw(slowest, "%d more, created at the same time, got it: the slowest", furtherNamespaces)
	return s.awaitReady(ctx)
}

// addMany makes further namespaces at the same time and returns the longest
// time from one's creation to its Secret.
func (s *story) addMany(ctx context.Context) (time.Duration, error) {
	since := s.witness.now()
	created := make([]time.Time, furtherNamespaces)
	errs := make([]error, furtherNamespaces)
	var names []string
	var all sync.WaitGroup
	for i := range furtherNamespaces {
		name := fmt.Sprintf("team-%02d", i+1)
		names = append(names, name)
		all.Go(func() { created[i], errs[i] = s.apply(ctx, "namespace.yaml", values{Name: name}) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	found, err := s.awaitSecrets(ctx, since, names, "the Secret in every new namespace", patience, complete)
	if err != nil {
		return 0, err
	}
	s.holders = append(s.holders, names...)
	var slowest time.Duration
	for i, name := range names {
		slowest = max(slowest, found[name].at.Sub(created[i]))
	}
	return slowest, nil
}

// addPod is step 5.
func (s *story) addPod(ctx context.Context) error {
	if _, err := s.apply(ctx, "plain-namespace.yaml", values{Name: podNamespace}); err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: podNamespace, Name: "default"}
	err := s.eventually(ctx, "the ServiceAccount of namespace "+podNamespace, patience, func(ctx context.Context) error {
		return s.api.Get(ctx, key, &corev1.ServiceAccount{})
	})
	if err != nil {
		return err
	}
	if held := s.witness.latest(podNamespace); !strings.HasPrefix(held, "no Secret") {
		return unmet{expected: "no Secret in " + podNamespace + " before there is a Pod", seen: held}
	}
	s.noted("namespace %s, without the label, has no Secret", podNamespace)
	since := s.witness.now()
	created, err := s.showAndApply(ctx, "pod.yaml", values{Name: podName, Namespace: podNamespace, Image: ecrImage})
	if err != nil {
		return err
	}
	seen, err := s.awaitSecret(ctx, since, podNamespace, "the Secret beside the Pod", complete)
	if err != nil {
		return err
	}
	s.saw(seen.at.Sub(created), "%s got the Secret, counted from the Pod's creation", podNamespace)
	return s.removePod(ctx)
}

func (s *story) removePod(ctx context.Context) error {
	since := s.witness.now()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: podNamespace, Name: podName}}
	if err := s.api.Delete(ctx, pod); err != nil {
		return fmt.Errorf("delete the Pod: %w", err)
	}
	deleted := time.Now()
	seen, err := s.awaitSecret(ctx, since, podNamespace, "the Secret to go with the last Pod", gone)
	if err != nil {
		return err
	}
	s.saw(seen.at.Sub(deleted), "the Secret went with the Pod, counted from its deletion")
	return nil
}
