package pipeline

import (
	"errors"
	"log/slog"

	"stegomq/internal/engine"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/telemetry"
)

// Runtime says how a worker computes. Zero values take the defaults of packages ort and gpuworker.
type Runtime struct {
	// Library is the ONNX Runtime library, a file or its folder, and Provider what computes.
	Library  string
	Provider ort.Provider
	// Slots is the number of jobs worked on at once, and of results scored at once. Default: one per core.
	Slots int
	// WeightsBytes bounds the hot keys' weights, and the networks of models that have one for each key.
	WeightsBytes int64
	// Layouts is the folder of ort.Config.Layouts.
	Layouts string
	// BatchPixels bounds one run of the network, MaxPixels the largest image that it is given.
	BatchPixels, MaxPixels int
}

// Engine is the engine of a worker in this process.
type Engine struct {
	*engine.Engine
	runtime *ort.Engine // nil where no model has a network
}

// NewEngine loads models into a new engine that finds keys in a keyring, such as one that is watched. The library is only needed for networks.
func NewEngine(r Runtime, models []*model.Model, keys engine.Keys, log *slog.Logger) (*Engine, error) {
	e := &Engine{}
	if engine.NeedsRuntime(models...) {
		var err error
		if e.runtime, err = ort.New(ort.Config{
			Library: r.Library, Provider: r.Provider, Workers: r.Slots, CacheBytes: r.WeightsBytes, Layouts: r.Layouts, Logger: log,
		}); err != nil {
			return nil, err
		}
	}
	e.Engine = engine.New(e.runtime, keys)
	if err := e.Add(models...); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Close frees the runtime; no run may be under way.
func (e *Engine) Close() error {
	if e.runtime == nil {
		return nil
	}
	return e.runtime.Close()
}

// runtimeName names what computes networks; empty where no model has one.
func (e *Engine) runtimeName() string {
	if e == nil || e.runtime == nil {
		return ""
	}
	return e.runtime.Name()
}

// weightsStats are those of the runtime.
func (e *Engine) weightsStats() telemetry.WeightsStats {
	if e.runtime == nil {
		return telemetry.WeightsStats{}
	}
	st := e.runtime.Stats()
	return telemetry.WeightsStats{Hits: int64(st.Hits), Misses: int64(st.Misses), Bytes: st.Bytes}
}

// Info describes the runtime; nil where no model has a network.
func (e *Engine) Info() *ort.Info {
	if e.runtime == nil {
		return nil
	}
	info := e.runtime.Info()
	return &info
}
