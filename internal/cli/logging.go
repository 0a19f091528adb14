package cli

import (
	"fmt"
	"os"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// loggingOptions say what is logged and how. Their defaults come from the
// environment variables that IMPS knew.
type loggingOptions struct {
	level  string
	format string
}

func (o *loggingOptions) bindFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.level, "log-level", fromEnvironment("LOG_LEVEL", "info"),
		"what to log: error, info, debug, or a number for more than debug (environment: LOG_LEVEL)")
	flags.StringVar(&o.format, "log-format", fromEnvironment("LOG_FORMAT", "json"),
		"how to log: json, or console for people (environment: LOG_FORMAT)")
}

func fromEnvironment(name, otherwise string) string {
	if value, found := os.LookupEnv(name); found && value != "" {
		return value
	}
	return otherwise
}

// start makes the logger and gives it to everything that logs.
func (o *loggingOptions) start() (logr.Logger, error) {
	config := zap.NewProductionConfig()
	// Every line may matter when something is wrong.
	config.Sampling = nil
	config.EncoderConfig.TimeKey, config.EncoderConfig.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	level, err := parseLevel(o.level)
	if err != nil {
		return logr.Logger{}, err
	}
	config.Level = zap.NewAtomicLevelAt(level)
	switch o.format {
	case "json":
		config.Encoding = "json"
	case "console", "logfmt": // IMPS knew logfmt; it was for people too
		config.Encoding = "console"
		config.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
	default:
		return logr.Logger{}, fmt.Errorf("--log-format %q is neither json nor console", o.format)
	}
	config.DisableStacktrace = true
	zapLog, err := config.Build()
	if err != nil {
		return logr.Logger{}, fmt.Errorf("starting to log: %w", err)
	}
	log := zapr.NewLogger(zapLog)
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client"))
	return log, nil
}

// parseLevel reads a level by name, or by logr's verbosity.
func parseLevel(text string) (zapcore.Level, error) {
	var verbosity int8
	if _, err := fmt.Sscanf(text, "%d", &verbosity); err == nil && verbosity >= 0 {
		return zapcore.Level(-verbosity), nil
	}
	level, err := zapcore.ParseLevel(text)
	if err != nil {
		return 0, fmt.Errorf("--log-level %q is neither error, info, debug nor a number", text)
	}
	return level, nil
}
