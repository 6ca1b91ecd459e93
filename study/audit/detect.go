package audit

import (
	"context"
	"fmt"
	"image"
	"runtime"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/steganalysis"
	"stegomq/schemas"
	"stegomq/study"
)

const (
	// matchingRate is that of the positive control: enough to be found in a few dozen small photographs.
	matchingRate = 0.5
	// matchingSeed and splitSeeds are fixed, so that equal images have equal figures.
	matchingSeed = 1
	splits       = 5
)

// Detectability is how well stego images are told from covers, as both are stored: 8 bits, at the run's geometry.
type Detectability struct {
	Key          string  `json:"key"` // that embedded
	Pairs        int     `json:"pairs"`
	MatchingRate float64 `json:"lsb_matching_rate"` // bits a sample, of the positive control
	Told                 // by SPAM features of the channels
	// Colour is by those and the same of the differences between channels.
	Colour Told `json:"colour"`
}

// Told is how well one kind of features detects stego images, with a null control and a positive control.
type Told struct {
	// Stego is covers against their stego images.
	Stego steganalysis.Detection `json:"stego"`
	// Null is the cover and the secret of a pair, neither of which hides anything; for each split a coin says of every pair which
	// counts as stego (steganalysis.Null). Covers against themselves would test nothing, because their features are equal. Two halves
	// of the covers would be half as many images.
	Null steganalysis.Detection `json:"null"`
	// Matching is covers against what LSB matching makes of them, MatchingRate bits a sample: a method that can be found.
	Matching steganalysis.Detection `json:"lsb_matching"`
}

// The images that features are of.
const (
	cover = iota
	stegoImage
	secret
	matching
	images
)

// Detect reads the covers, secrets and stego images of the first key of a run, and tells them apart. Pairs without a stego
// image are left out; below steganalysis.MinPairs the error wraps steganalysis.ErrPairs.
func Detect(ctx context.Context, spec *schemas.RunSpec, scores []*schemas.Score, from study.Images) (*Detectability, error) {
	d := &Detectability{Key: spec.GetKeys()[0].GetId(), MatchingRate: matchingRate}
	stego := make(map[string]string) // digest by item
	for _, s := range scores {
		if s.Role() == schemas.Imperceptibility && s.GetEmbedKey() == d.Key {
			stego[s.GetItem()] = s.GetTest()
		}
	}
	var pairs []*schemas.Pair
	for _, p := range spec.GetPairs() {
		if stego[p.GetItem()] != "" {
			pairs = append(pairs, p)
		}
	}
	d.Pairs = len(pairs)
	var features [images][][]float64
	for of := range features {
		features[of] = make([][]float64, len(pairs))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range pairs {
		g.Go(func() error {
			for of, ref := range []*schemas.ImageRef{cover: p.GetCover(), stegoImage: schemas.BlobRef(stego[p.GetItem()], ""), secret: p.GetSecret()} {
				m, err := from.Image(ctx, ref, spec.GetGeometry())
				if err != nil {
					return fmt.Errorf("features of item %s: %w", p.GetItem(), err)
				}
				features[of][i] = steganalysis.ColourSPAM(m)
				if of == cover {
					features[matching][i] = steganalysis.ColourSPAM(control(m, i))
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var err error
	if d.Colour, err = tell(features); err != nil {
		return nil, err
	}
	// The features of SPAM are the first of those with colour.
	for of := range features {
		for i, f := range features[of] {
			features[of][i] = f[:steganalysis.Features]
		}
	}
	d.Told, err = tell(features)
	return d, err
}

// tell compares covers with the others.
func tell(features [images][][]float64) (t Told, err error) {
	var seeds []uint64
	for seed := range uint64(splits) {
		seeds = append(seeds, seed+1)
	}
	if t.Stego, err = steganalysis.Detect(features[cover], features[stegoImage], seeds); err != nil {
		return t, err
	}
	if t.Null, err = steganalysis.Null(features[cover], features[secret], seeds); err != nil {
		return t, err
	}
	t.Matching, err = steganalysis.Detect(features[cover], features[matching], seeds)
	return t, err
}

// control is the positive control's stego image of cover i.
func control(m *image.NRGBA, i int) *image.NRGBA {
	return steganalysis.Matching(m, matchingRate, matchingSeed<<32+uint64(i))
}
