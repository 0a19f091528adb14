package providers_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/imagepullsecrets/operator/providers"
)

func TestClassOf(t *testing.T) {
	denied := &providers.Error{Class: providers.Denied, Message: "no"}
	for name, test := range map[string]struct {
		err  error
		want providers.Class
	}{
		"an Error has its own class":                      {denied, providers.Denied},
		"a wrapped Error keeps its class":                 {fmt.Errorf("fetching: %w", denied), providers.Denied},
		"an Error among joined ones is found":             {errors.Join(io.EOF, denied), providers.Denied},
		"any other error may be gone at the next try":     {io.EOF, providers.Transient},
		"the outer of two Errors decides":                 {&providers.Error{Class: providers.ClockSkew, Cause: denied}, providers.ClockSkew},
		"an Error made by Errorf has the class it's told": {providers.Errorf(providers.Invalid, "x"), providers.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if got := providers.ClassOf(test.err); got != test.want {
				t.Errorf("got class %s, want %s", got, test.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	throttled := &providers.Error{Class: providers.Throttled, RetryAfter: time.Minute}
	for name, test := range map[string]struct {
		err  error
		want time.Duration
	}{
		"an Error says how long":         {throttled, time.Minute},
		"a wrapped Error says how long":  {fmt.Errorf("fetching: %w", throttled), time.Minute},
		"an Error that was told nothing": {providers.Errorf(providers.Throttled, "x"), 0},
		"any other error says nothing":   {io.EOF, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := providers.RetryAfter(test.err); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestDownHost(t *testing.T) {
	down := &providers.Error{Class: providers.Transient, Host: "sts.example", Down: true}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"an Error says who":            {down, "sts.example"},
		"a wrapped Error says who":     {fmt.Errorf("fetching: %w", down), "sts.example"},
		"an Error of a refusal":        {&providers.Error{Class: providers.Denied, Host: "sts.example"}, ""},
		"any other error says nothing": {io.EOF, ""},
		"no error says nothing":        {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := providers.DownHost(test.err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestErrorPrintsItsMessageAndNeverItsCause(t *testing.T) {
	err := &providers.Error{Class: providers.Transient, Message: "no answer", Cause: errors.New("planted-secret")}
	if got := fmt.Sprintf("%v %s", err, err); got != "no answer no answer" {
		t.Errorf("printed %q", got)
	}
	if !errors.Is(err, err.Cause) {
		t.Error("errors.Is does not find the cause")
	}
}

func TestErrorfFormats(t *testing.T) {
	err := providers.Errorf(providers.Invalid, "region %q", "x")
	if err.Error() != `region "x"` || err.Cause != nil || err.RetryAfter != 0 {
		t.Errorf("got %+v", *err)
	}
}

func TestClassesHaveNames(t *testing.T) {
	for class, want := range map[providers.Class]string{
		providers.Invalid:   "invalid",
		providers.Denied:    "denied",
		providers.Throttled: "throttled",
		providers.ClockSkew: "clock_skew",
		providers.Transient: "transient",
		0:                   "unknown",
	} {
		if got := class.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
