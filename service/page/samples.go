package page

import "embed"

// Sample is an image to try the service with, drawn for it: samples/NAME.png.
type Sample struct{ Name, Title string }

// Samples lists the samples.
var Samples = []Sample{{"hills", "Hills"}, {"sea", "Moon over the sea"}, {"dunes", "Dunes"}, {"city", "City"}}

//go:embed samples
var samples embed.FS

// SamplePNG is the sample of a name, as a PNG; nil where there is none.
func SamplePNG(name string) []byte {
	data, err := samples.ReadFile("samples/" + name + ".png")
	if err != nil {
		return nil
	}
	return data
}
