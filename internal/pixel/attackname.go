package pixel

import (
	"fmt"
	"image"
	"strconv"
	"strings"
)

// Attack is something that happens to a stego image on its way. Its name is a word and a number:
//
//	jpeg-75    JPEG at a quality of 1 to 100 (Recompress)
//	resize-50  down to a percentage of each side, 1 to 99, and back (ResizeAndBack)
//	noise-2.5  Gaussian noise of a standard deviation above 0, up to 255, in 8-bit units (AddNoise)
//	crop-10    a percentage of a side cut off at each of the four edges, 1 to 49, and made grey (CropAndPad)
//
// The zero value is no attack, and cannot be applied.
type Attack struct {
	kind   string
	amount float64
}

// attackKinds are the words, with the bounds of their numbers and whether these are whole.
var attackKinds = []struct {
	kind      string
	low, high float64
	whole     bool
	amount    string
}{
	{"jpeg", 1, 100, true, "quality 1 to 100"},
	{"resize", 1, 99, true, "percent 1 to 99"},
	{"noise", 0.01, 255, false, "sigma 0.01 to 255"},
	{"crop", 1, 49, true, "percent 1 to 49"},
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
	switch a.kind {
	case "jpeg":
		return Recompress(m, int(a.amount))
	case "resize":
		return ResizeAndBack(m, a.amount/100)
	case "noise":
		return AddNoise(m, a.amount, seed)
	case "crop":
		return CropAndPad(m, 1-2*a.amount/100)
	}
	return nil, fmt.Errorf("%w: none was named", ErrAttack)
}
