package pipeline

import (
	"context"
	"fmt"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// noOp is the engine of a benchmark of the queue: what goes in comes out. No service has it; Bench alone makes a worker with it.
type noOp struct{}

func (noOp) Runtime(string) string { return "" }

// Check refuses what is not of a benchmark.
func (noOp) Check(_ context.Context, model string, _ schemas.Operation, _ *schemas.KeyRef) error {
	if model != noModel {
		return schemas.Permanent(schemas.ReasonUnknownModel, fmt.Errorf("this worker has no model %.12s: it measures the queue", model))
	}
	return nil
}

func (e noOp) Run(ctx context.Context, model string, op schemas.Operation, key *schemas.KeyRef, in ...pixel.Tensor) (pixel.Tensor, []*schemas.Refusal, error) {
	return in[0], nil, e.Check(ctx, model, op, key)
}

func (e noOp) Features(ctx context.Context, model string, key *schemas.KeyRef, stego pixel.Tensor) (pixel.Tensor, [][]float32, error) {
	return stego, nil, e.Check(ctx, model, schemas.Operation_OPERATION_RECOVER, key)
}
