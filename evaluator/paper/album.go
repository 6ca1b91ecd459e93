package paper

import (
	"cmp"
	"fmt"
	"image"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"stegomq/evaluator/htmlreport"
)

// Sides of thumbnails, in pixels.
const (
	cellSide = 160 // of what a cell of a small matrix opens
	itemSide = 96
)

// maxPictures bounds the bytes of all thumbnails, which the page writes in base64, a third longer: a page stays under some 45 MB.
const maxPictures = 24 << 20

// thumbnail is an image of a run at a size.
type thumbnail struct {
	file string
	side int
}

// album holds the thumbnails of a page. The page is made twice: the first time the album notes what is wanted, then it makes
// all of it at once, on every core, and the second time it hands it out.
type album struct {
	page *htmlreport.Page
	made map[thumbnail][]byte // nil where the image was not saved
	used map[thumbnail]bool
	// sources is the file of each source image at each size: the runs of a data set have the same covers and secrets.
	sources map[string]string
	room    int // bytes of thumbnails that there is room for
	left    int // thumbnails that there was none for
}

func newAlbum() *album {
	return &album{made: make(map[thumbnail][]byte), used: make(map[thumbnail]bool), sources: make(map[string]string), room: maxPictures}
}

// shown gives a thumbnail, false where there is none.
func (a *album) shown(t thumbnail, title, note string) (htmlreport.Shown, bool, error) {
	if a.page == nil {
		a.made[t] = nil
		return htmlreport.Shown{}, false, nil
	}
	data := a.made[t]
	if data == nil {
		return htmlreport.Shown{}, false, nil
	}
	if !a.used[t] {
		if len(data) > a.room {
			a.left++
			return htmlreport.Shown{}, false, nil
		}
		a.used[t] = true
		a.room -= len(data)
	}
	ref, err := a.page.AddPicture(data)
	return htmlreport.Shown{Picture: ref, Title: title, Note: note}, err == nil, err
}

// source is the file of the cover or the secret of an item, in whichever run it was seen first.
func (a *album) source(run Run, kind, item string) string {
	file := run.imageFile(kind, item)
	for _, p := range run.Spec.GetPairs() {
		if p.GetItem() != item {
			continue
		}
		g := run.Summary.Geometry
		image := fmt.Sprintf("%s %dx%d %s", pick(kind == coverImage, p.GetCover(), p.GetSecret()).GetDigest(), g.Width, g.Height, g.Resize)
		if a.sources[image] == "" {
			a.sources[image] = file
		}
		return a.sources[image]
	}
	return file
}

// make makes every thumbnail that is wanted. An image that is not there has none.
func (a *album) make() error {
	byFile := make(map[string][]int)
	for t := range a.made {
		byFile[t.file] = append(byFile[t.file], t.side)
	}
	var lock sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for file, sides := range byFile {
		slices.SortFunc(sides, func(x, y int) int { return cmp.Compare(y, x) })
		g.Go(func() error {
			var m image.Image
			m, err := readImage(file)
			if missingImage(err) {
				return nil
			}
			if err != nil {
				return err
			}
			for _, side := range sides {
				data, err := htmlreport.Thumbnail(m, side)
				if err != nil {
					return fmt.Errorf("%s: %w", filepath.Base(file), err)
				}
				lock.Lock()
				a.made[thumbnail{file, side}] = data
				lock.Unlock()
			}
			return nil
		})
	}
	return g.Wait()
}
