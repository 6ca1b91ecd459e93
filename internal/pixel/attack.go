package pixel

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"strconv"
	"strings"

	"github.com/disintegration/imaging"
)

// Attack is something that happens to a stego image on its way. Its name is a word and a number:
//
//	jpeg-75    JPEG at a quality of 1 to 100, with chroma at half the resolution both ways, as most programs write it
//	resize-50  down to a percentage of each side, 1 to 99, and back, both with the filter of Fit
//	noise-2.5  Gaussian noise of a standard deviation above 0, up to 255, in 8-bit units (AddNoise)
//	crop-10    a percentage of a side cut off at each of the four edges, 1 to 49, and made middle grey
//
// The zero value is no attack, and cannot be applied.
type Attack struct {
	kind   string
	amount float64
}

// attackKinds are the words, with the bounds of their numbers, whether these are whole, and what they do to an opaque image.
var attackKinds = []struct {
	kind      string
	low, high float64
	whole     bool
	amount    string
	apply     func(m *image.NRGBA, amount float64, seed uint64) (*image.NRGBA, error)
}{
	{"jpeg", 1, 100, true, "quality 1 to 100", func(m *image.NRGBA, amount float64, _ uint64) (*image.NRGBA, error) {
		return recompress(m, int(amount))
	}},
	{"resize", 1, 99, true, "percent 1 to 99", func(m *image.NRGBA, amount float64, _ uint64) (*image.NRGBA, error) {
		return resizeAndBack(m, amount/100)
	}},
	{"noise", 0.01, 255, false, "sigma 0.01 to 255", AddNoise},
	{"crop", 1, 49, true, "percent 1 to 49", func(m *image.NRGBA, amount float64, _ uint64) (*image.NRGBA, error) {
		return cropAndPad(m, 1-2*amount/100), nil
	}},
}

// AttackHelp says in one line how attacks are written.
func AttackHelp() string {
	var forms []string
	for _, k := range attackKinds {
		forms = append(forms, fmt.Sprintf("%s-N (%s)", k.kind, k.amount))
	}
	return strings.Join(forms, ", ")
}

// ParseAttack reads the name of an attack. One attack has one name: noise-5, not noise-05 or noise-5.0. The error wraps
// ErrAttack and says what there is.
func ParseAttack(name string) (Attack, error) {
	kind, number, _ := strings.Cut(name, "-")
	for _, k := range attackKinds {
		if k.kind != kind {
			continue
		}
		amount, err := strconv.ParseFloat(number, 64)
		switch a := (Attack{kind, amount}); {
		case err != nil || !(amount >= k.low && amount <= k.high) || k.whole && amount != float64(int(amount)):
			return Attack{}, fmt.Errorf("%w: %q: %s takes a %s", ErrAttack, name, kind, k.amount)
		case a.String() != name:
			return Attack{}, fmt.Errorf("%w: %q: write %s", ErrAttack, name, a)
		default:
			return a, nil
		}
	}
	return Attack{}, fmt.Errorf("%w: %q: there are %s", ErrAttack, name, AttackHelp())
}

// String is the attack's name.
func (a Attack) String() string { return a.kind + "-" + strconv.FormatFloat(a.amount, 'f', -1, 64) }

// Apply does the attack to an opaque image, whose size stays. The same seed gives the same image; noise alone has use
// for it. m is not changed.
func (a Attack) Apply(m *image.NRGBA, seed uint64) (*image.NRGBA, error) {
	for _, k := range attackKinds {
		if k.kind == a.kind {
			return k.apply(m, a.amount, seed)
		}
	}
	return nil, fmt.Errorf("%w: none was named", ErrAttack)
}

// recompress is what is left of an image after JPEG at a quality of 1 to 100.
func recompress(m *image.NRGBA, quality int) (*image.NRGBA, error) {
	var file bytes.Buffer
	if err := jpeg.Encode(&file, m, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("JPEG: %w", err)
	}
	out, _, err := Decode(file.Bytes(), Limits{})
	return out, err
}

// resizeAndBack multiplies both sides by a factor above 0 and brings the image back to its size.
func resizeAndBack(m *image.NRGBA, factor float64) (*image.NRGBA, error) {
	size := m.Rect.Size()
	other, err := Fit(m, Geometry{Width: share(size.X, factor), Height: share(size.Y, factor)})
	if err != nil {
		return nil, err
	}
	return Fit(other, Geometry{Width: size.X, Height: size.Y})
}

// cropAndPad keeps the centre of an image, a part of both sides above 0, up to 1, and makes the rest middle grey.
func cropAndPad(m *image.NRGBA, part float64) *image.NRGBA {
	size := m.Rect.Size()
	kept := image.Pt(share(size.X, part), share(size.Y, part))
	// What is kept goes back to where it was, to the pixel: imaging's two ways to find a centre differ by one.
	at := size.Sub(kept).Div(2)
	centre := imaging.Crop(m, image.Rectangle{at, at.Add(kept)}.Add(m.Rect.Min))
	return imaging.Paste(imaging.New(size.X, size.Y, color.NRGBA{128, 128, 128, 255}), centre, at)
}

// share of a side, in whole pixels.
func share(side int, of float64) int { return max(1, int(math.Round(float64(side)*of))) }
