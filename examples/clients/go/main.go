// Command submit submits a dataset, starting its stream if it does not run: go run . STREAM MODEL DATASET
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
)

// Submission is the answer to submitTask. The same dataset gets the same answer again.
type Submission struct {
	Task          string `json:"task"`
	WorkflowID    string `json:"workflowId"`
	DatasetDigest string `json:"datasetDigest"`
	Status        string `json:"status"`
	Duplicate     bool   `json:"duplicate"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: submit STREAM MODEL DATASET")
	}
	stream, model, dataset := args[0], args[1], args[2]
	temporal, err := client.Dial(envconfig.MustLoadDefaultClientOptions())
	if err != nil {
		return err
	}
	defer temporal.Close()

	definition := map[string]any{"name": stream, "model": model}
	start := temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID:                       "lilora/" + stream,
		TaskQueue:                "lilora",
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, "stream", map[string]any{"schema": 1, "definition": definition})

	ctx := context.Background()
	update, err := temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateName:   "submitTask",
			Args:         []any{map[string]any{"dataset": dataset}},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return err
	}
	var submission Submission
	if err := update.Get(ctx, &submission); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(submission)
}
