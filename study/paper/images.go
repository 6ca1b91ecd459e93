package paper

import (
	"cmp"
	"path/filepath"
	"slices"

	"stegomq/schemas"
	"stegomq/study"
)

// imageFile is the file of an image: of an item, and for stego and recovered ones of the keys that made it.
func (r Run) imageFile(kind, item string, keys ...string) string {
	return filepath.Join(r.Dir, filepath.FromSlash(study.ImageFile(kind, item, keys...)))
}

// typical is the item of which the key pair a recovers the median PSNR: it is neither the best nor the worst. It is "" in a run
// without scores.
func (r Run) typical() string {
	pairs := r.pairs()
	if len(pairs) == 0 {
		return ""
	}
	of := r.ranked(schemas.Recoverability, pairs[0].Embed, pairs[0].Embed)
	if len(of) == 0 {
		return ""
	}
	return of[len(of)/2].GetItem()
}

// ranked are the scores of a role and two keys that were not refused, the least alike first.
func (r Run) ranked(role schemas.Role, embed, decode string) []*schemas.Score {
	var of []*schemas.Score
	for _, s := range r.Scores {
		if s.Role() == role && s.GetEmbedKey() == embed && s.GetDecodeKey() == decode && s.End() == schemas.EndDone {
			of = append(of, s)
		}
	}
	slices.SortFunc(of, func(a, b *schemas.Score) int {
		return cmp.Or(cmp.Compare(a.GetMetrics().GetPsnr(), b.GetMetrics().GetPsnr()), cmp.Compare(a.GetItem(), b.GetItem()))
	})
	return of
}

// refused says whether recovery refused the image of an item that no one attacked.
func (r Run) refused(item, embed, decode string) bool {
	return slices.ContainsFunc(r.Scores, func(s *schemas.Score) bool {
		return s.End() == schemas.EndRefused && s.GetAttack() == "" && s.GetItem() == item && s.GetEmbedKey() == embed && s.GetDecodeKey() == decode
	})
}

// sameItem is the item of a run that has the same two images as an item of another; "" where it has none.
func (r Run) sameItem(other Run, item string) string {
	images := func(p *schemas.Pair) string { return p.GetCover().GetDigest() + " " + p.GetSecret().GetDigest() }
	for _, p := range other.Spec.GetPairs() {
		if p.GetItem() != item {
			continue
		}
		for _, q := range r.Spec.GetPairs() {
			if images(q) == images(p) {
				return q.GetItem()
			}
		}
	}
	return ""
}
