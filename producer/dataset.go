package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// ErrDataset is the class of data sets that cannot be evaluated.
var ErrDataset = errors.New("data set")

// Inspections remembers images that were found good under some limits, by digest.
type Inspections interface {
	Inspected(ctx context.Context, digests []string, limits string) ([]bool, error)
	RememberInspected(ctx context.Context, digests []string, limits string) error
}

// DatasetOptions say where the images are.
type DatasetOptions struct {
	// Data is where the images are: a folder, searched with its subfolders; a folder of tar archives, or one; or a
	// list (.txt, .csv). Consecutive images make a pair, the first the cover; with Covers all of them are secrets.
	// A folder is in the order of its names, an archive and a list in their own. The lines of a list may also name
	// pairs.
	Data string
	// Covers is where the covers are, paired in order with the images of Data. Optional.
	Covers string
	// Limit is the largest number of pairs, the first ones; 0 takes all. A pair of the same file twice does not count. Files after the
	// last that is needed are not read.
	Limit int
	// Sample is the number of pairs that Seed draws from all; 0 takes them in order. The pairs to draw from are made
	// by names, before a file is read: where one has a bad file, or one file twice, the next that is drawn takes its place. It excludes
	// Limit.
	Sample int
	Seed   uint64
	Limits pixel.Limits
}

// Check says what ReadDataset would refuse before it reads an image: a place that is not there, or that has
// too few images by their names. The error wraps ErrDataset.
func (o DatasetOptions) Check() error {
	least := 2
	if o.Covers != "" {
		least = 1
	}
	images, covers, err := o.list()
	if err != nil {
		return err
	}
	for i, l := range []*listing{images, covers} {
		if l != nil && len(l.shards) == 0 && len(l.entries) < least {
			return fmt.Errorf("%w: %s holds a single image file, a pair needs two (or give the covers in a folder of their own, --covers)",
				ErrDataset, []string{o.Data, o.Covers}[i])
		}
	}
	return nil
}

// list lists the images, and the covers where they are elsewhere.
func (o DatasetOptions) list() (images, covers *listing, err error) {
	if images, err = list(o.Data); err != nil || o.Covers == "" {
		return images, nil, err
	}
	if covers, err = list(o.Covers); err != nil {
		return nil, nil, err
	}
	for i, l := range []*listing{images, covers} {
		if l.paired {
			return nil, nil, fmt.Errorf("%w: the list %s names covers and secrets: give it alone, as --data", ErrDataset, []string{o.Data, o.Covers}[i])
		}
	}
	return images, covers, nil
}

// Dataset is what was found.
type Dataset struct {
	Pairs []*schemas.Pair
	// Images counts the files that can be used, in a pair or not, as far as they were read.
	Images int
	// Bad names, with the reason, the files that look like images by their names and cannot be used. It also names the covers of pairs that were
	// left out because the secret is the same file.
	Bad []*schemas.BadImage
	// Files says where the images are, by their digests.
	Files map[string]File
	// Candidates is the number of pairs that a sample was drawn from; 0 without one.
	Candidates int

	met map[File]bool // what Images and Bad have
}

// ReadDataset lists, checks and pairs the images.
func ReadDataset(ctx context.Context, opts DatasetOptions, memo Inspections) (*Dataset, error) {
	images, covers, err := opts.list()
	if err != nil {
		return nil, err
	}
	d := &Dataset{Files: make(map[string]File), met: make(map[File]bool)}
	for _, l := range []*listing{images, covers} {
		if l != nil {
			l.expand()
			d.Bad = append(d.Bad, l.bad...)
		}
	}
	r := reader{limits: opts.Limits, memo: memo}
	if opts.Sample > 0 || images.paired {
		return d, d.choose(ctx, r, candidates(images, covers), opts)
	}
	for {
		// A pair that is left out gives its place to the next.
		if err := d.next(ctx, r, images, covers, max(0, opts.Limit-len(d.Pairs))); err != nil {
			return nil, err
		}
		ended := len(images.entries) == 0 || covers != nil && len(covers.entries) == 0
		if ended || len(d.Pairs) >= opts.Limit { // without a limit everything was taken
			return d, nil
		}
	}
}

// next pairs the images that come next, at most n pairs (0: all).
func (d *Dataset) next(ctx context.Context, r reader, images, covers *listing, n int) error {
	if covers == nil {
		found, err := d.take(ctx, r, images, 2*n)
		for pair := range slices.Chunk(found, 2) {
			if len(pair) == 2 && d.differ(pair[0], pair[1]) {
				d.pair(pair[0], pair[1])
			}
		}
		return err
	}
	secret, err := d.take(ctx, r, images, n)
	if err != nil {
		return err
	}
	cover, err := d.take(ctx, r, covers, n)
	for i := range min(len(secret), len(cover)) {
		if d.differ(cover[i], secret[i]) {
			d.pair(cover[i], secret[i])
		}
	}
	return err
}

// differ says whether two files have different bytes. A pair of one image twice is named among the bad ones. What is recovered from it would be
// as near to the cover as to the secret, and its baseline would be 100 dB.
func (d *Dataset) differ(cover, secret *schemas.ImageRef) bool {
	if cover.GetDigest() != secret.GetDigest() {
		return true
	}
	d.Bad = append(d.Bad, &schemas.BadImage{
		Name: cover.GetName(), Reason: fmt.Sprintf("the pair is left out: its cover and its secret, %s, are the same file", secret.GetName()),
	})
	return false
}

// candidate is a pair by its names.
type candidate struct{ cover, secret entry }

func candidates(images, covers *listing) []candidate {
	var all []candidate
	if covers != nil {
		for i := range min(len(images.entries), len(covers.entries)) {
			all = append(all, candidate{covers.entries[i], images.entries[i]})
		}
		return all
	}
	for i := 0; i+1 < len(images.entries); i += 2 {
		all = append(all, candidate{images.entries[i], images.entries[i+1]})
	}
	return all
}

// choose takes the pairs whose two files can be used and differ: the first ones, or those that are drawn. They keep their
// order.
func (d *Dataset) choose(ctx context.Context, r reader, all []candidate, opts DatasetOptions) error {
	order, want := make([]int, len(all)), opts.Limit
	for i := range order {
		order[i] = i
	}
	if opts.Sample > 0 {
		order, want, d.Candidates = draw(len(all), opts.Seed), opts.Sample, len(all)
	}
	if want == 0 {
		want = len(all)
	}
	chosen := make(map[int][2]*schemas.ImageRef)
	for len(order) > 0 && len(chosen) < want {
		next := order[:min(len(order), want-len(chosen), chunk/2)]
		order = order[len(next):]
		var entries []entry
		for _, i := range next {
			entries = append(entries, all[i].cover, all[i].secret)
		}
		files, err := r.check(ctx, entries)
		if err != nil {
			return err
		}
		for n, i := range next {
			cover, secret := d.keep(files[2*n]), d.keep(files[2*n+1])
			if cover && secret && d.differ(files[2*n].ref, files[2*n+1].ref) {
				chosen[i] = [2]*schemas.ImageRef{files[2*n].ref, files[2*n+1].ref}
			}
		}
	}
	for _, i := range slices.Sorted(maps.Keys(chosen)) {
		d.pair(chosen[i][0], chosen[i][1])
	}
	return nil
}

// pair adds an item, named by its number and the cover's file name.
func (d *Dataset) pair(cover, secret *schemas.ImageRef) {
	stem := strings.TrimSuffix(filepath.Base(cover.GetName()), filepath.Ext(cover.GetName()))
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, stem)
	item := fmt.Sprintf("%05d-%.60s", len(d.Pairs)+1, safe)
	d.Pairs = append(d.Pairs, &schemas.Pair{Item: item, Cover: cover, Secret: secret})
}

// chunk is the number of files that are looked up in the memo at once.
const chunk = 128

// take takes the images that can be used off a list, in order, at most limit (0: all).
func (d *Dataset) take(ctx context.Context, r reader, from *listing, limit int) ([]*schemas.ImageRef, error) {
	var images []*schemas.ImageRef
	for len(from.entries) > 0 && (limit <= 0 || len(images) < limit) {
		n := min(chunk, len(from.entries))
		if limit > 0 {
			n = min(n, limit-len(images))
		}
		files, err := r.check(ctx, from.entries[:n])
		if err != nil {
			return nil, err
		}
		from.entries = from.entries[n:]
		for _, f := range files {
			if d.keep(f) {
				images = append(images, f.ref)
			}
		}
	}
	return images, nil
}

// keep notes a file that was read, once, and says whether it can be used.
func (d *Dataset) keep(f checked) bool {
	first := !d.met[f.file]
	d.met[f.file] = true
	if f.reason != "" {
		if first {
			d.Bad = append(d.Bad, &schemas.BadImage{Name: f.ref.GetName(), Reason: f.reason})
		}
		return false
	}
	if first {
		d.Images++
	}
	d.Files[f.ref.GetDigest()] = f.file
	return true
}

// checked is one file after the check: a reference, or a reason.
type checked struct {
	ref    *schemas.ImageRef
	file   File
	reason string
}

// reader reads images within limits.
type reader struct {
	limits pixel.Limits
	memo   Inspections
}

// check reads and inspects files side by side. A file that cannot be used is no error.
func (r reader) check(ctx context.Context, entries []entry) ([]checked, error) {
	files := make([]checked, len(entries))
	if err := each(ctx, len(entries), func(i int) { files[i] = r.read(entries[i]) }); err != nil {
		return nil, err
	}
	var whole []int
	var digests []string
	for i, f := range files {
		if f.reason == "" {
			whole, digests = append(whole, i), append(digests, f.ref.GetDigest())
		}
	}
	under := fmt.Sprintf("%d/%d/%d/%d", pixel.DecoderVersion, r.limits.MaxBytes, r.limits.MaxPixels, r.limits.MinSide)
	good, err := r.memo.Inspected(ctx, digests, under)
	if err != nil {
		return nil, fmt.Errorf("look up earlier inspections: %w", err)
	}
	if err := each(ctx, len(whole), func(n int) {
		f := &files[whole[n]]
		if good[n] {
			return
		}
		data, err := f.file.Read(r.limits.MaxBytes)
		if err == nil {
			_, err = pixel.Inspect(data, r.limits)
		}
		if err != nil {
			f.reason = err.Error()
		}
	}); err != nil {
		return nil, err
	}
	var found []string
	for n, i := range whole {
		if !good[n] && files[i].reason == "" {
			found = append(found, digests[n])
		}
	}
	return files, r.memo.RememberInspected(ctx, found, under)
}

// each calls f for 0..n-1 on every core until ctx ends.
func each(ctx context.Context, n int, f func(i int)) error {
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { f(i); return nil })
	}
	_ = g.Wait()
	return ctx.Err()
}

// read hashes one file within the limit on bytes.
func (r reader) read(e entry) checked {
	c := checked{ref: &schemas.ImageRef{Name: label(e.name)}, file: e.file, reason: e.reason}
	if c.reason != "" {
		return c
	}
	data, err := e.file.Read(r.limits.MaxBytes)
	if err != nil {
		c.reason = reasonOf(err)
		return c
	}
	c.ref.Digest = schemas.Digest(data)
	c.ref.Uri = schemas.BlobURI(c.ref.Digest)
	return c
}
