package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/spf13/pflag"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// trials are what a run tries with every stego image beyond other keys; by default nothing.
type trials struct {
	swapped, noKey, features bool
	partial                  []float64 // percent
	attacks                  []string
}

func (t *trials) register(f *pflag.FlagSet) {
	f.BoolVar(&t.swapped, "swapped", false, "decode what each key embedded with its k_e and k_r exchanged too")
	f.Float64SliceVar(&t.partial, "partial", nil, "decode what each key embedded with keys too of whose fill only this much is right, in percent, such as 25,50,99.5")
	f.BoolVar(&t.noKey, "no-key", false, "give every stego image to the network that needs no key, which purifies")
	f.StringSliceVar(&t.attacks, "attacks", nil, "recover once more after each of these happened to the stego image: "+pixel.AttackHelp())
	f.BoolVar(&t.features, "features", false, "keep with every score what recovery's last layer was fed, for figures of the keys' separation")
}

// check finds what is wrong with the flags, and what the model cannot do.
func (t *trials) check(m *model.Model) error {
	for i, percent := range t.partial {
		permille := math.Round(10 * percent)
		if !(percent >= 0 && percent <= 100) || math.Abs(10*percent-permille) > 1e-9 {
			return fmt.Errorf("--partial %v: choose percentages from 0 to 100 with at most one decimal", percent)
		}
		if slices.Contains(t.partial[:i], percent) {
			return fmt.Errorf("--partial %v is there twice", percent)
		}
	}
	for i, name := range t.attacks {
		if _, err := pixel.ParseAttack(name); err != nil {
			return fmt.Errorf("--attacks: %w", err)
		}
		if slices.Contains(t.attacks[:i], name) {
			return fmt.Errorf("--attacks %s is there twice", name)
		}
	}
	switch {
	case (t.swapped || len(t.partial) > 0) && hasVariants(m):
		return fmt.Errorf("--swapped, --partial: model %s has a network for each of its keys and none for other keys; leave them out", m.Name)
	case len(t.partial) > 0 && !schemas.FillsWeights(m.Manifest.Keying):
		return fmt.Errorf("--partial: the keys of model %s fill no weights, so that no part of them can be right; leave it out", m.Name)
	case t.noKey && !m.Manifest.Does(model.OpPurify):
		return fmt.Errorf("--no-key: model %s does not purify, so that it has no network without a key; leave it out", m.Name)
	case t.features && m.Manifest.Features == 0:
		return fmt.Errorf("--features: the recovery of model %s gives none; leave it out, or choose a model that has them", m.Name)
	}
	return nil
}

// checkID says when an id is too long to name the keys derived from its pair.
func (t *trials) checkID(id string) error {
	if t.swapped && len(id) > keyring.MaxSwappedID || len(t.partial) > 0 && len(id) > keyring.MaxPartialID {
		return fmt.Errorf("--swapped, --partial: the id %s is too long to name the keys derived from it: choose one of at most %d bytes",
			id, min(keyring.MaxSwappedID, keyring.MaxPartialID))
	}
	return nil
}

// set puts what is to be tried into a specification, which has its keys.
func (t *trials) set(spec *schemas.RunSpec, keys []keyring.Pair) {
	for _, p := range keys {
		if t.swapped {
			spec.NearKeys = append(spec.NearKeys, keyRef(keyring.Swapped(p)))
		}
		for _, percent := range t.partial {
			spec.NearKeys = append(spec.NearKeys, keyRef(keyring.Partial(p, int(math.Round(10*percent)))))
		}
	}
	spec.Features, spec.Attacks, spec.Unkeyed = t.features, t.attacks, t.noKey
}
