package audit

import (
	"fmt"
	"path/filepath"

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
// random key does. The images of its run are in dir, as study.SaveImages wrote them.
func ShowGuess(g Guess, dir string) (*figure.Grid, error) {
	var row figure.PictureRow
	for _, s := range []struct {
		kind, caption string
		keys          []string
	}{
		{"cover", "cover", nil}, {"stego", "stego", []string{g.EmbedKey}}, {"secret", "secret", nil},
		{"recovered", fmt.Sprintf("matched key, SSIM %.3f", g.MatchedSSIM), []string{g.EmbedKey, g.EmbedKey}},
		{"recovered", fmt.Sprintf("best guess, SSIM %.3f", g.SSIM), []string{g.EmbedKey, g.DecodeKey}},
	} {
		m, err := study.ReadImage(filepath.Join(dir, filepath.FromSlash(study.ImageFile(s.kind, g.Item, s.keys...))))
		if err != nil {
			return nil, fmt.Errorf("the best guess: %w", err)
		}
		row.Pictures = append(row.Pictures, figure.Picture{Image: m, Caption: s.caption})
	}
	return &figure.Grid{Rows: []figure.PictureRow{row}, Width: figure.Page}, nil
}
