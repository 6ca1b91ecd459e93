package audit

import (
	"context"
	"fmt"

	"stegomq/report/figure"
	"stegomq/schemas"
	"stegomq/study"
)

// BestGuess is the random key's output with the largest excess in SSIM, the first of equal ones; nil where none has a score that was
// not refused.
func BestGuess(r *Run) *Guess {
	return bestGuess(r.Scores, excesses(r.Scores, schemas.Leakage(schemas.Reader_READER_RANDOM)))
}

// ShowGuess draws the best guess: cover, stego image, secret, what the matched key recovers, and what the
// random key does. The run has scores of both keys, and its images are stored.
func ShowGuess(ctx context.Context, g Guess, spec *schemas.RunSpec, scores []*schemas.Score, images study.Images) (*figure.Grid, error) {
	refs := make(map[string]*schemas.ImageRef)
	for _, p := range spec.GetPairs() {
		if p.GetItem() == g.Item {
			refs["cover"], refs["secret"] = p.GetCover(), p.GetSecret()
		}
	}
	for _, s := range scores {
		if s.GetItem() != g.Item || s.GetEmbedKey() != g.EmbedKey || s.End() == schemas.EndRefused {
			continue
		}
		switch {
		case s.Role() == schemas.Imperceptibility:
			refs["stego"] = schemas.BlobRef(s.GetTest(), "")
		case s.Role() == schemas.Recoverability:
			refs["matched"] = schemas.BlobRef(s.GetTest(), "")
		case s.Role() == schemas.Leakage(schemas.Reader_READER_RANDOM) && s.GetDecodeKey() == g.DecodeKey:
			refs["guess"] = schemas.BlobRef(s.GetTest(), "")
		}
	}
	var row figure.PictureRow
	for _, s := range []struct{ name, caption string }{
		{"cover", "cover"}, {"stego", "stego"}, {"secret", "secret"},
		{"matched", fmt.Sprintf("matched key, SSIM %.3f", g.MatchedSSIM)},
		{"guess", fmt.Sprintf("best guess, SSIM %.3f", g.SSIM)},
	} {
		ref := refs[s.name]
		if ref == nil {
			return nil, fmt.Errorf("the run of the best guess has no %s of %s", s.name, g.Comparison.Text())
		}
		m, err := images.Image(ctx, ref, spec.GetGeometry())
		if err != nil {
			return nil, fmt.Errorf("the best guess: %w", err)
		}
		row.Pictures = append(row.Pictures, figure.Picture{Image: m, Caption: s.caption})
	}
	return &figure.Grid{Rows: []figure.PictureRow{row}, Width: figure.Page}, nil
}
