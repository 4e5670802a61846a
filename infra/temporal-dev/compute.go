package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	computeprovider "go.temporal.io/auto-scaled-workers/wci/workflow/compute_provider"
	"go.temporal.io/auto-scaled-workers/wci/workflow/iface"
	"go.temporal.io/server/common/dynamicconfig"
)

// allowCommand lets the worker controller start one program of this machine, and nothing else. Whoever reaches the server may tell the
// controller to start workers; which program that is, only the person who started the server says.
func allowCommand(path string, dynamic dynamicconfig.StaticClient) {
	computeprovider.RegisterComputeProvider(iface.ComputeProviderTypeSubprocess,
		func(context.Context, *dynamicconfig.Collection) (computeprovider.ComputeProvider, error) {
			return oneCommand{path}, nil
		})
	dynamic[dynamicconfig.MakeKey("workercontroller.enabled")] = true
	dynamic[dynamicconfig.MakeKey("workercontroller.compute_providers.enabled")] = []any{string(iface.ComputeProviderTypeSubprocess)}
	dynamic[dynamicconfig.MakeKey("workercontroller.scaling_algorithms.enabled")] = []any{"no-sync"}
}

// oneCommand starts the program that --compute-command names, without arguments, for at most `timeout` of its configuration.
type oneCommand struct{ path string }

func (c oneCommand) LaunchStrategy() computeprovider.LaunchStrategy {
	return computeprovider.LaunchStrategyInvoke
}

func (c oneCommand) ValidateConfig(_ context.Context, _ computeprovider.RequestContext, config computeprovider.ComputeProviderConfig) error {
	_, err := c.life(config)
	return err
}

// life checks a configuration: the one command, no arguments, a duration.
func (c oneCommand) life(config computeprovider.ComputeProviderConfig) (time.Duration, error) {
	for key := range config {
		if key != "command" && key != "timeout" {
			return 0, fmt.Errorf("the subprocess provider takes command and timeout, not %q", key)
		}
	}
	if command, _ := config["command"].(string); command != c.path {
		return 0, fmt.Errorf("command %q: this server starts the program of its flag --compute-command only", command)
	}
	text, _ := config["timeout"].(string)
	life, err := time.ParseDuration(text)
	if err != nil || life <= 0 {
		return 0, fmt.Errorf("timeout must be a positive duration such as 1h")
	}
	return life, nil
}

// InvokeWorker checks once more: a database may hold what an earlier server allowed.
func (c oneCommand) InvokeWorker(_ context.Context, _ computeprovider.RequestContext, config computeprovider.ComputeProviderConfig) error {
	life, err := c.life(config)
	if err != nil {
		return err
	}
	// timeout(1) ends what lives too long, also when this server has gone.
	command := exec.Command("timeout", fmt.Sprintf("%.3fs", life.Seconds()), c.path)
	if err := command.Start(); err != nil {
		return fmt.Errorf("%s does not start: %w", c.path, err)
	}
	go func() { _ = command.Wait() }()
	return nil
}

func (c oneCommand) UpdateWorkerSetSize(context.Context, computeprovider.RequestContext, computeprovider.ComputeProviderConfig, int32) error {
	return fmt.Errorf("the subprocess provider starts single workers only")
}
