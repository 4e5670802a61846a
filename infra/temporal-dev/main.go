// Command temporal-dev runs a whole Temporal server with its Web UI in one process, on one SQLite file (or in memory). It takes the flags
// of `temporal server start-dev` that the TypeScript SDK's test environment passes, so it can stand in for the `temporal` command.
//
//	temporal-dev server start-dev --db-filename temporal.db --search-attribute LiloraStream=Keyword
//
// For one machine: no TLS, no authorization, one node. It survives kill -9: start it again on the same file.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/temporal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const usage = `usage: temporal-dev server start-dev [flags]     start a server
       temporal-dev version                      print the server's version
`

// stopTimeout is how long a polite end may take.
const stopTimeout = 3 * time.Second

// options are the flags of `server start-dev`.
type options struct {
	ip, uiIP, dbFile, logFormat, logLevel string
	port, uiPort, httpPort, metricsPort   int
	headless                              bool
	namespaces, allowedHosts              []string
	computeCommand                        string
	searchAttributes                      map[string]enums.IndexedValueType
	dynamicConfig                         dynamicconfig.StaticClient
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "temporal-dev:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && (args[0] == "version" || args[0] == "--version"):
		fmt.Println("temporal-dev, Temporal server", headers.ServerVersion)
		return nil
	case len(args) < 2 || args[0] != "server" || args[1] != "start-dev":
		fmt.Fprint(os.Stderr, usage)
		return errors.New("expected `server start-dev`")
	}
	opts, err := parse(args[2:], os.Stderr)
	if err != nil {
		return err
	}
	return serve(opts)
}

// parse reads the flags; an unknown flag or a malformed value is an error that names it.
func parse(args []string, help io.Writer) (*options, error) {
	o := &options{searchAttributes: map[string]enums.IndexedValueType{}, dynamicConfig: defaultDynamicConfig()}
	f := flag.NewFlagSet("server start-dev", flag.ContinueOnError)
	f.SetOutput(help)
	f.StringVar(&o.ip, "ip", "127.0.0.1", "`address` that the frontend listens on")
	f.IntVar(&o.port, "port", 7233, "gRPC `port` of the frontend")
	f.IntVar(&o.httpPort, "http-port", 0, "HTTP API `port` (0: off)")
	f.IntVar(&o.metricsPort, "metrics-port", 0, "Prometheus `port`, path /metrics (0: off)")
	f.StringVar(&o.uiIP, "ui-ip", "", "`address` that the Web UI listens on (default: --ip)")
	f.IntVar(&o.uiPort, "ui-port", 0, "`port` of the Web UI (default: --port + 1000)")
	f.BoolVar(&o.headless, "headless", false, "no Web UI")
	f.StringVar(&o.dbFile, "db-filename", "", "SQLite `file`, made when absent (empty: in memory)")
	f.StringVar(&o.logFormat, "log-format", "text", "`format`: text, pretty or json")
	f.StringVar(&o.logLevel, "log-level", "error", "`level`: debug, info, warn, error or never")
	f.Func("namespace", "`name` to register besides default (repeatable)", func(v string) error {
		o.namespaces = append(o.namespaces, v)
		return nil
	})
	f.StringVar(&o.computeCommand, "compute-command", "", "`program` that the worker controller may start (empty: it starts nothing)")
	f.Func("allowed-host", "`name` under which browsers may reach UI and HTTP API besides localhost (repeatable)", func(v string) error {
		o.allowedHosts = append(o.allowedHosts, v)
		return nil
	})
	f.Func("search-attribute", "`Name=Type` to register (repeatable)", func(v string) error {
		name, kind, found := strings.Cut(v, "=")
		parsed, err := enums.IndexedValueTypeFromString(kind)
		if !found || name == "" || err != nil || parsed == enums.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return fmt.Errorf("want Name=Type with a type of Keyword, Text, Int, Double, Bool, Datetime or KeywordList")
		}
		o.searchAttributes[name] = parsed
		return nil
	})
	f.Func("dynamic-config-value", "`key=JSON` (repeatable)", func(v string) error {
		key, text, found := strings.Cut(v, "=")
		var value any
		if !found || key == "" {
			return errors.New("want key=JSON")
		}
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber() // a whole number must stay one: the server refuses 5.0 where it wants an int
		if err := decoder.Decode(&value); err != nil {
			return fmt.Errorf("the value is not JSON: %w", err)
		}
		o.dynamicConfig[dynamicconfig.MakeKey(key)] = plainNumbers(value)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.uiIP == "" {
		o.uiIP = o.ip
	}
	if o.uiPort == 0 {
		o.uiPort = o.port + 1000
	}
	if o.computeCommand != "" {
		allowCommand(o.computeCommand, o.dynamicConfig)
	}
	// The HTTP API looks at names alone, not at origins: it is off unless somebody asks for it.
	o.dynamicConfig[dynamicconfig.FrontendHTTPAllowedHosts.Key()] = hostPatterns(o)
	return o, nil
}

// plainNumbers turns json.Number into int or float64, at any depth.
func plainNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return int(whole)
		}
		fraction, _ := v.Float64()
		return fraction
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return value
}

// defaultDynamicConfig allows what the pipeline and its tests use: search attributes that are visible as soon as they are registered, and
// turns by fairness key on task queues. Turns are taken within a partition of a queue, and one node has no use for more than one.
func defaultDynamicConfig() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
		dynamicconfig.MatchingEnableFairness.Key():                  true,
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():      1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key():     1,
	}
}

func serve(o *options) error {
	format := "console"
	if o.logFormat == "json" {
		format = "json"
	}
	var logger log.Logger = log.NewNoopLogger()
	var stopping atomic.Bool
	if o.logLevel != "never" {
		zapLogger := log.BuildZapLogger(log.Config{Level: o.logLevel, Format: format})
		// While the services end they complain about each other; nobody needs to read that.
		logger = log.NewZapLogger(zapLogger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return quietCore{core, &stopping}
		})))
	}
	syscall.Umask(0o077) // workflows hold what their owner learns from
	cfg, err := serverConfig(o)
	if err != nil {
		return err
	}
	if err := prepareDatabase(o, cfg); err != nil {
		return err
	}
	// What is started here needs no credentials, so it is claimed to be for this machine only: --ip is 127.0.0.1 unless told otherwise.
	server, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
		temporal.WithDynamicConfigClient(o.dynamicConfig),
		temporal.WithStaticHosts(staticHosts(cfg)),
	)
	if err != nil {
		return fmt.Errorf("cannot set up the server: %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	if err := server.Start(); err != nil {
		return fmt.Errorf("cannot start the server: %w", err)
	}
	frontend := fmt.Sprintf("%s:%d", dialHost(o.ip), o.port)
	if err := addSearchAttributes(frontend, o); err != nil {
		return err
	}
	if !o.headless {
		go func() {
			if err := startUI(o, frontend); err != nil {
				fmt.Fprintln(os.Stderr, "temporal-dev: the Web UI:", err)
			}
		}()
		fmt.Printf("Web UI   http://%s:%d\n", dialHost(o.uiIP), o.uiPort)
	}
	fmt.Printf("Temporal %s\n", frontend)
	<-stop
	stopping.Store(true)
	// Everything acknowledged is in the database already, so a slow end is cut short. (Connections and the UI end with the process.)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = server.Stop()
	}()
	select {
	case <-stopped:
	case <-stop:
	case <-time.After(stopTimeout):
	}
	return nil
}

// quietCore drops every entry once the server is told to stop.
type quietCore struct {
	zapcore.Core
	stopping *atomic.Bool
}

func (c quietCore) With(fields []zapcore.Field) zapcore.Core {
	return quietCore{c.Core.With(fields), c.stopping}
}

func (c quietCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.stopping.Load() {
		return checked
	}
	return c.Core.Check(entry, checked)
}
