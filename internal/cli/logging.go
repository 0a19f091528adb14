package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

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
	// development is image-pull-secrets-provisioner's choice of both.
	development bool
	// flags tell which of them were set.
	flags *pflag.FlagSet
}

func (o *loggingOptions) bindFlags(flags *pflag.FlagSet) {
	o.flags = flags
	flags.StringVar(&o.level, "log-level", fromEnvironment("LOG_LEVEL", "info"),
		"what to log: error, info, debug, or a number for more than debug (environment: LOG_LEVEL)")
	flags.StringVar(&o.format, "log-format", fromEnvironment("LOG_FORMAT", "json"),
		"how to log: json, or console for people (environment: LOG_FORMAT)")
}

// withoutEffect are flags of image-pull-secrets-provisioner that mean nothing
// here, and are taken so that nobody has to change his manifests.
var withoutEffect = []string{"zap-stacktrace-level", "zap-time-encoding", "expiration-grace-period-minutes"}

// bindProvisionersFlags binds what that system knew of logging and has no name
// here, and what means nothing.
func (o *loggingOptions) bindProvisionersFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.development, "zap-devel", false, "image-pull-secrets-provisioner's name for --log-level=debug --log-format=console")
	flags.Lookup("zap-devel").Hidden = true
	for _, name := range withoutEffect {
		flags.String(name, "", "means nothing here")
		flags.Lookup(name).Hidden = true
	}
}

func fromEnvironment(name, otherwise string) string {
	if value, found := os.LookupEnv(name); found && value != "" {
		return value
	}
	return otherwise
}

// start makes the logger, which writes to out, and gives it to everything that
// logs.
func (o *loggingOptions) start(out io.Writer) (logr.Logger, error) {
	log, err := o.logger(out)
	if err != nil {
		return logr.Logger{}, err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client"))
	if ignored := slices.DeleteFunc(slices.Clone(withoutEffect), func(name string) bool { return !o.flags.Changed(name) }); len(ignored) > 0 {
		log.Info("flags of image-pull-secrets-provisioner that have no effect here", "flags", ignored)
	}
	return log, nil
}

// logger makes the logger that the options ask for. Every line is written: each
// may matter when something is wrong.
func (o *loggingOptions) logger(out io.Writer) (logr.Logger, error) {
	level, format := o.level, o.format
	if o.development && !o.flags.Changed("log-level") {
		level = "debug"
	}
	if o.development && !o.flags.Changed("log-format") {
		format = "console"
	}
	enabled, err := parseLevel(level)
	if err != nil {
		return logr.Logger{}, err
	}
	config := zap.NewProductionEncoderConfig()
	config.TimeKey, config.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	var encoder zapcore.Encoder
	switch strings.ToLower(format) {
	case "json":
		encoder = zapcore.NewJSONEncoder(config)
	case "console", "logfmt": // IMPS knew logfmt; it was for people too
		config.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(config)
	default:
		return logr.Logger{}, fmt.Errorf("--log-format %q is neither json nor console", format)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), enabled)
	return zapr.NewLogger(zap.New(core, zap.AddCaller())), nil
}

// levels are the names of levels: ours, and those of IMPS's and
// image-pull-secrets-provisioner's loggers. Nothing here is a warning: what
// others would call so is among info.
var levels = map[string]zapcore.Level{
	"error": zapcore.ErrorLevel, "info": zapcore.InfoLevel, "debug": zapcore.DebugLevel,
	"panic": zapcore.ErrorLevel, "fatal": zapcore.ErrorLevel,
	"warn": zapcore.InfoLevel, "warning": zapcore.InfoLevel, "trace": zapcore.DebugLevel,
}

// parseLevel reads a level by name, or by logr's verbosity.
func parseLevel(text string) (zapcore.Level, error) {
	if level, found := levels[strings.ToLower(text)]; found {
		return level, nil
	}
	verbosity, err := strconv.Atoi(text)
	if err != nil || verbosity < 0 {
		return 0, fmt.Errorf("--log-level %q is neither error, info, debug nor a number", text)
	}
	const highest = 127
	return zapcore.Level(-min(verbosity, highest)), nil
}
