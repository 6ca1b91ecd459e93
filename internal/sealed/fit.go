package sealed

import (
	"context"
	"errors"
	"image"
	"math"

	"stegomq/internal/avif"
)

// Speeds of the encoder. At 256x256 an encode takes 30 to 40 ms of CPU at fast, and 80 to 130 at slow, which in as many bytes is
// 0.5 dB better: slow takes ratio times the bytes at the same quantiser, and has less of an error. But one photograph in ten, of
// large even areas, takes up to eight times as many at slow, for no gain: what is more than doubt times the prediction is such
// a one. (Speed 7 is no better than 8 on photographs, 6 is 0.5 dB better and takes 300 ms.)
const (
	fast, slow = 9, 8
	ratio      = 0.95
	careful    = 1.03 // the first encode at slow shall fit, as a second one costs more than the step that is lost
	doubt      = 1.2
)

// slowPixels is the largest image that is coded at slow: beyond it an encode takes seconds.
const slowPixels = 1 << 20

// sure is the share of the room up to which a prediction must be for a search to try a finer quantiser than one that fits: a
// step is 4 to 9 % of the bytes, and what is predicted from a quantiser near by is 1 or 2 % off.
const sure = 0.95

// errTooLarge: the secret is larger than the room even at the coarsest quantiser.
var errTooLarge = errors.New("the secret does not fit")

// fitter codes one image as well as it goes into a number of bytes.
type fitter struct {
	img       *image.NRGBA
	room      int
	predicted [quantisers]float64
	made      map[[2]int][]byte // by quantiser and speed
	least     int               // bytes of the smallest
}

// fit returns the coded image. With errTooLarge comes how many bytes the coarsest quantiser takes.
func fit(ctx context.Context, img *image.NRGBA, room int) (coded []byte, least int, err error) {
	f := &fitter{img: img, room: room, predicted: rates(img), made: make(map[[2]int][]byte), least: math.MaxInt}
	coded, err = f.fit(ctx)
	return coded, f.least, err
}

func (f *fitter) fit(ctx context.Context) (coded []byte, err error) {
	q := f.finest(1, 0, quantisers-1)
	rough, err := f.encode(ctx, q, fast)
	if err != nil {
		return nil, err
	}
	if q == 0 && len(rough) <= f.room {
		return rough, nil // there is nothing finer
	}
	scale := float64(len(rough)) / f.predicted[q]
	if f.img.Rect.Dx()*f.img.Rect.Dy() <= slowPixels {
		coded, err = f.search(ctx, slow, scale*ratio*careful, 2)
	}
	if err == nil && coded == nil {
		coded, err = f.search(ctx, fast, scale, math.MaxInt)
	}
	if err == nil && coded == nil {
		err = errTooLarge
	}
	return coded, err
}

func (f *fitter) encode(ctx context.Context, q, speed int) ([]byte, error) {
	at := [2]int{q, speed}
	if f.made[at] == nil {
		coded, err := avif.Encode(ctx, f.img, avif.Options{Quality: quality(q), Speed: speed})
		if err != nil {
			return nil, err
		}
		f.made[at], f.least = coded, min(f.least, len(coded))
	}
	return f.made[at], nil
}

// finest is the least quantiser in low to high whose prediction, times a scale, fits, or high.
func (f *fitter) finest(scale float64, low, high int) int {
	for q := low; q < high; q++ {
		if f.predicted[q]*scale <= float64(f.room) {
			return q
		}
	}
	return high
}

// search finds the finest quantiser at which the image fits, by at most so many encodes, and nil where none was found. Predictions
// are right up to a scale, which is nearly the same for quantisers near one another.
func (f *fitter) search(ctx context.Context, speed int, scale float64, most int) (coded []byte, err error) {
	// Quantisers below low give too many bytes; those above high are no better than what is coded.
	for low, high := 0, quantisers-1; low <= high && most > 0; most-- {
		q := f.finest(scale, low, high)
		next, err := f.encode(ctx, q, speed)
		if err != nil {
			return nil, err
		}
		grown := float64(len(next)) / (f.predicted[q] * scale)
		if speed == slow && grown > doubt {
			return nil, nil
		}
		scale *= grown
		if len(next) > f.room {
			low = q + 1
			continue
		}
		coded, high = next, q-1
		if high >= 0 && f.predicted[high]*scale > sure*float64(f.room) {
			break
		}
	}
	return coded, nil
}

// quality is that of libavif for a quantiser: ((100 - quality) 63 + 50) / 100, rounded down, gives the quantiser.
func quality(quantiser int) int { return 100 - (100*quantiser+31)/63 }
