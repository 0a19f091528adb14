package order

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Done tells whether everything that is asked for now was carried out, as far as
// it can be, and says what failed.
func (c *Controller) Done(ctx context.Context) (done bool, failures []string, err error) {
	for _, door := range c.Doors {
		orders, err := door.Orders(ctx)
		if errors.Is(err, ErrNotYet) {
			return false, nil, nil
		}
		if err != nil {
			return false, nil, err
		}
		for _, order := range orders {
			if order.Object.Spec.Suspend {
				continue
			}
			concluded := c.memory.conclusion(order.Name())
			if concluded == nil {
				return false, nil, nil
			}
			if concluded.Status == metav1.ConditionFalse {
				failures = append(failures, fmt.Sprintf("%s: %s: %s", order.Asker, concluded.Reason, concluded.Message))
			}
		}
	}
	return true, failures, nil
}

// conclude is the verdict on all of it; nil while something is under way.
func (a assessment) conclude() *verdict {
	if ready := a.ready(); ready.Status != metav1.ConditionUnknown && !a.working() {
		return &ready
	}
	return nil
}
