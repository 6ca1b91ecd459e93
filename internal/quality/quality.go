// Package quality measures how alike two images are: PSNR, SSIM, MAE and RMSE on 8-bit RGB.
//
// It is pure, and what takes time has assembly beside it for processors with AVX2. Its invariants:
//
//   - Scores depend on the red, green and blue of the two images alone; alpha is ignored.
//   - Every score is finite, so a mean over images never is infinite or NaN.
//   - Compare(a, b) and Compare(b, a) are the same.
//   - The assembly and the plain code give the same bits, and every processor does, but for the logarithm in PSNR.
//
// The definitions are those of the image-hiding literature and agree with scikit-image; they are
// written at Scores. A change that moves a score must change Version.
package quality

import (
	"errors"
	"fmt"
	"image"
	"math"
)

// Version names the definitions below, and the bits of SSIM (TestVersion). It belongs in the key of every score that is kept.
const Version = "1"

// MaxPSNR is reported for identical images, whose PSNR is infinite, and is the ceiling for all
// others, so that identical images do not rank below nearly identical ones. Only images of more
// than 51,000 pixels can come above it without being identical.
const MaxPSNR = 100.0

// ErrSize: the images differ in size, or a side is shorter than the SSIM window of 11 pixels.
var ErrSize = errors.New("images cannot be compared")

// Scores compares a test image with its reference.
type Scores struct {
	PSNR      float64 // dB: 20 log10(255 / sqrt(MSE)), MSE over all pixels and channels; 0 to MaxPSNR
	SSIM      float64 // mean structural similarity over the channels; -1 to 1, see Compare
	MAE       float64 // mean absolute difference, samples scaled to [0,1]; 0 to 1
	RMSE      float64 // root of the mean squared difference, samples scaled to [0,1]; 0 to 1
	Identical bool    // no sample differs; PSNR is then MaxPSNR, SSIM 1 and the errors 0
}

// Compare scores test against reference, both at least 11 pixels on each side and of one size; the
// error wraps ErrSize.
//
// SSIM is that of Wang, Bovik, Sheikh and Simoncelli (2004), equation 13, on each channel in 0..255:
// an 11x11 Gaussian window with sigma 1.5 and weights that sum to 1, population covariances,
// C1 = (0.01*255)^2, C2 = (0.03*255)^2, averaged over the windows that lie inside the image and then
// over the channels. scikit-image gives the same with gaussian_weights=True, sigma=1.5,
// use_sample_covariance=False, data_range=255, channel_axis=-1.
//
// Compare runs on the caller's goroutine and is safe for concurrent use.
func Compare(reference, test *image.NRGBA) (Scores, error) {
	if err := sameSize(reference, test); err != nil {
		return Scores{}, err
	}
	w, h := reference.Rect.Dx(), reference.Rect.Dy()
	if min(w, h) < window {
		return Scores{}, fmt.Errorf("%w: %dx%d, and no side may be under %d pixels", ErrSize, w, h, window)
	}
	absolute, squared := differences(reference, test)
	if absolute == 0 {
		return Scores{PSNR: MaxPSNR, SSIM: 1, Identical: true}, nil
	}
	samples := float64(w) * float64(h) * channels
	mse := float64(squared) / samples
	return Scores{
		PSNR: decibels(mse),
		SSIM: ssim(reference, test),
		MAE:  float64(absolute) / samples / 255,
		RMSE: math.Sqrt(mse) / 255,
	}, nil
}

// PSNR is that of Compare, without the rest. Images may be of any size, but of one.
func PSNR(reference, test *image.NRGBA) (float64, error) {
	if err := sameSize(reference, test); err != nil {
		return 0, err
	}
	_, squared := differences(reference, test)
	return decibels(float64(squared) / (float64(reference.Rect.Dx()) * float64(reference.Rect.Dy()) * channels)), nil
}

// decibels is the PSNR of a mean squared error on 0..255.
func decibels(mse float64) float64 { return min(MaxPSNR, 10*math.Log10(255*255/mse)) }

// Correlation is Pearson's of the samples of two images of one size, all channels together: -1 to 1, and 0 where an image has a single value.
// It is that of two images whatever their brightness and contrast. The error wraps ErrSize.
func Correlation(a, b *image.NRGBA) (float64, error) {
	if err := sameSize(a, b); err != nil {
		return 0, err
	}
	var sumA, sumB, squaresA, squaresB, products, n float64
	for y := range a.Rect.Dy() {
		p, q := a.Pix[y*a.Stride:][:4*a.Rect.Dx()], b.Pix[y*b.Stride:][:4*a.Rect.Dx()]
		for i := range p {
			if i%4 == 3 {
				continue
			}
			u, v := float64(p[i]), float64(q[i])
			sumA, sumB = sumA+u, sumB+v
			squaresA, squaresB, products = squaresA+u*u, squaresB+v*v, products+u*v
			n++
		}
	}
	spread := (squaresA - sumA*sumA/n) * (squaresB - sumB*sumB/n)
	if !(spread > 0) {
		return 0, nil
	}
	return min(max((products-sumA*sumB/n)/math.Sqrt(spread), -1), 1), nil
}

func sameSize(reference, test *image.NRGBA) error {
	if a, b := reference.Rect.Size(), test.Rect.Size(); a != b || a.X == 0 || a.Y == 0 {
		return fmt.Errorf("%w: the reference is %dx%d, the test %dx%d", ErrSize, a.X, a.Y, b.X, b.Y)
	}
	return nil
}

const channels = 3

// differences sums |a-b| and (a-b)^2 over the colour samples, exactly.
func differences(a, b *image.NRGBA) (absolute, squared uint64) {
	w, h := a.Rect.Dx(), a.Rect.Dy()
	for y := range h {
		l1, l2 := rowDifferences(a.Pix[y*a.Stride:][:4*w], b.Pix[y*b.Stride:][:4*w])
		absolute, squared = absolute+l1, squared+l2
	}
	return absolute, squared
}

func rowDifferencesGo(p, q []uint8) (absolute, squared uint64) {
	for len(p) >= 4 && len(q) >= 4 {
		r, g, b := int(p[0])-int(q[0]), int(p[1])-int(q[1]), int(p[2])-int(q[2])
		absolute += uint64(max(r, -r) + max(g, -g) + max(b, -b))
		squared += uint64(r*r + g*g + b*b)
		p, q = p[4:], q[4:]
	}
	return absolute, squared
}
