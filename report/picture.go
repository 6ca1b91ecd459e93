package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	_ "image/png" // read as well
	"io/fs"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/image/draw"
	"golang.org/x/sync/errgroup"
)

// ErrPicture is the class of bytes that are not an image that a page can hold.
var ErrPicture = errors.New("not a picture")

// picture is an image file with what its header says.
type picture struct {
	data          []byte
	kind          string // MIME type
	width, height int
}

func readPicture(data []byte) (picture, error) {
	config, kind, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return picture{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	if kind != "jpeg" && kind != "png" { // another package may have registered other formats
		return picture{}, fmt.Errorf("%w: %s; use JPEG or PNG", ErrPicture, kind)
	}
	return picture{data, "image/" + kind, config.Width, config.Height}, nil
}

// uri is a picture as a data URI.
func (p picture) uri() string {
	return "data:" + p.kind + ";base64," + base64.StdEncoding.EncodeToString(p.data)
}

var svgRoot = regexp.MustCompile(`^<svg [^>]*\bwidth="([\d.]+)pt" height="([\d.]+)pt"`)

// svgSize is the size of an SVG of package figure in CSS pixels, of which 96 and 72 points are an inch.
func svgSize(svg []byte) (width, height int, err error) {
	found := svgRoot.FindSubmatch(svg)
	if found == nil {
		return 0, 0, fmt.Errorf("%w: the root of an SVG has no width and height in points", ErrPicture)
	}
	side := func(points []byte) int {
		v, _ := strconv.ParseFloat(string(points), 64) // the pattern's are digits
		return int(math.Ceil(v * 96 / 72))
	}
	return side(found[1]), side(found[2]), nil
}

// thumbnailQuality keeps a photograph of 160 pixels at about 8 kB.
const thumbnailQuality = 88

// Shrunk is m with a longer side of at most side pixels, which is positive; a smaller image is m itself. The filter is Catmull
// and Rom's, which widens and so does not alias.
func Shrunk(m image.Image, side int) image.Image {
	size := m.Bounds().Size()
	longer := max(size.X, size.Y)
	if longer <= side {
		return m
	}
	small := image.NewRGBA(image.Rect(0, 0, max(1, size.X*side/longer), max(1, size.Y*side/longer)))
	draw.CatmullRom.Scale(small, small.Rect, m, m.Bounds(), draw.Src, nil)
	return small
}

// thumbnail is m as a JPEG whose longer side is at most side pixels.
func thumbnail(m image.Image, side int) (picture, error) {
	if m.Bounds().Empty() || side < 1 {
		return picture{}, fmt.Errorf("%w: %v pixels cannot be shrunk to %d", ErrPicture, m.Bounds().Size(), side)
	}
	small := Shrunk(m, side)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, small, &jpeg.Options{Quality: thumbnailQuality}); err != nil {
		return picture{}, fmt.Errorf("encode a thumbnail: %w", err)
	}
	return picture{out.Bytes(), "image/jpeg", small.Bounds().Dx(), small.Bounds().Dy()}, nil
}

// album holds the thumbnails of a page, each once.
type album struct {
	pictures []picture
	numbers  map[name]int // of the pictures that there is an image of, and room for
	left     int          // pictures that there was no room for
}

// name is what tells the thumbnails of a page apart.
type name struct {
	file string
	side int
}

// newAlbum makes all pictures that are wanted, on every core. Those at the front get the room, in bytes, first.
func newAlbum(wanted []Picture, load Loader, room int) (*album, error) {
	sides := make(map[string][]int)
	for _, p := range wanted {
		if !slices.Contains(sides[p.File], p.Side) {
			sides[p.File] = append(sides[p.File], p.Side)
		}
	}
	made := make(map[name]picture)
	var lock sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for file, sides := range sides {
		g.Go(func() error {
			m, err := load(file)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			for _, side := range slices.SortedFunc(slices.Values(sides), func(a, b int) int { return cmp.Compare(b, a) }) {
				var p picture
				if err == nil {
					p, err = thumbnail(m, side)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				lock.Lock()
				made[name{file, side}] = p
				lock.Unlock()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	a := &album{numbers: make(map[name]int)}
	known := make(map[[sha256.Size]byte]int)
	for _, w := range wanted {
		n := name{w.File, w.Side}
		p, there := made[n]
		if _, has := a.numbers[n]; has || !there {
			continue
		}
		digest := sha256.Sum256(p.data)
		number, twice := known[digest]
		switch {
		case twice: // runs of one data set have the same covers
		case len(p.data) > room:
			a.left++
			delete(made, n) // it is counted once
			continue
		default:
			number = len(a.pictures)
			known[digest], room = number, room-len(p.data)
			a.pictures = append(a.pictures, p)
		}
		a.numbers[n] = number
	}
	return a, nil
}

// shown are the pictures of the album for the script: number and title, and where there are such the note, and the title of the picture to compare
// with.
func (a *album) shown(pictures []Picture) [][]any {
	data := make([][]any, 0, len(pictures))
	for _, p := range pictures {
		number, there := a.numbers[name{p.File, p.Side}]
		if !there {
			continue
		}
		one := []any{number, p.Title}
		if p.Note != "" || p.Against != "" {
			one = append(one, p.Note)
		}
		if p.Against != "" {
			one = append(one, p.Against)
		}
		data = append(data, one)
	}
	return data
}
