package pixel

import (
	"image"
	"image/color"
)

// Loss says in words how writing a file changed the pixels; empty if it did not.
type Loss string

// The losses.
const (
	LossJPEG    Loss = "a JPEG"
	LossWebP    Loss = "a lossy WebP"
	LossPalette Loss = "an image with a palette"
)

// LossOf says how a file, which Header takes, changed the pixels that it was written from. A lossless file that was made from a lossy one
// counts as lossless.
func LossOf(data []byte) Loss {
	format, err := sniff(data)
	switch {
	case err != nil:
		return ""
	case format == JPEG:
		return LossJPEG
	case format == WebP:
		if webpChunk(data, "VP8 ") != nil {
			return LossWebP
		}
		return ""
	}
	config, err := guard(format, func() (image.Config, error) { return codecs[format].config(data) })
	if _, palette := config.ColorModel.(color.Palette); err == nil && palette {
		return LossPalette
	}
	return ""
}
