package page

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"sync"
)

// Sample is an image to try the service with. This package draws it.
type Sample struct{ Name, Title string }

// Samples lists the samples.
var Samples = []Sample{{"hills", "Hills"}, {"sea", "Moon over the sea"}, {"dunes", "Dunes"}, {"city", "City"}}

// SampleSide is the width and height of a sample, in pixels.
const SampleSide = 256

// SamplePNG is the sample of a name, as a PNG; nil where there is none.
func SamplePNG(name string) []byte {
	if draw, ok := sampleImages[name]; ok {
		return draw()
	}
	return nil
}

var sampleImages = map[string]func() []byte{
	"hills": drawn(hills), "sea": drawn(sea), "dunes": drawn(dunes), "city": drawn(city),
}

// drawn paints an image once, by a function from a point of the unit square to a colour, and a grain.
func drawn(paint func(x, y float64) rgb) func() []byte {
	return sync.OnceValue(func() []byte {
		m := image.NewNRGBA(image.Rect(0, 0, SampleSide, SampleSide))
		for py := range SampleSide {
			for px := range SampleSide {
				c := paint((float64(px)+0.5)/SampleSide, (float64(py)+0.5)/SampleSide)
				grain := 7 * (hash(px, py) - 0.5)
				m.SetNRGBA(px, py, color.NRGBA{R: level(c.r + grain), G: level(c.g + grain), B: level(c.b + grain), A: 255})
			}
		}
		var out bytes.Buffer
		if err := png.Encode(&out, m); err != nil {
			panic(err) // a Buffer takes everything
		}
		return out.Bytes()
	})
}

type rgb struct{ r, g, b float64 }

func level(v float64) uint8 { return uint8(min(max(v+0.5, 0), 255)) }

func mix(a, b rgb, t float64) rgb {
	t = min(max(t, 0), 1)
	return rgb{a.r + (b.r-a.r)*t, a.g + (b.g-a.g)*t, a.b + (b.b-a.b)*t}
}

// hash is a number of [0,1) for a point of a grid.
func hash(x, y int) float64 {
	h := uint32(x)*0x9e3779b1 ^ uint32(y)*0x85ebca77
	h ^= h >> 15
	h *= 0x2c1b3c6d
	h ^= h >> 12
	h *= 0x297a2d39
	h ^= h >> 15
	return float64(h) / (1 << 32)
}

// noise is smooth, of [0,1), with features of size 1.
func noise(x, y float64) float64 {
	ix, iy := math.Floor(x), math.Floor(y)
	fx, fy := x-ix, y-iy
	fx, fy = fx*fx*(3-2*fx), fy*fy*(3-2*fy)
	at := func(dx, dy int) float64 { return hash(int(ix)+dx, int(iy)+dy) }
	top := at(0, 0) + (at(1, 0)-at(0, 0))*fx
	bottom := at(0, 1) + (at(1, 1)-at(0, 1))*fx
	return top + (bottom-top)*fy
}

// rough is noise of several sizes.
func rough(x, y float64) float64 {
	sum, size := 0.0, 0.5
	for range 5 {
		sum += size * noise(x, y)
		x, y, size = 2.03*x+11, 2.03*y+7, size/2
	}
	return sum
}

func hills(x, y float64) rgb {
	c := mix(rgb{64, 96, 150}, rgb{250, 200, 160}, 1.7*y)
	c = mix(c, rgb{255, 244, 214}, 1.1-9*math.Hypot(x-0.68, y-0.36))
	c = mix(c, rgb{255, 226, 208}, 1.4*rough(5*x, 14*y)-0.75)
	for i, base := range []float64{0.46, 0.56, 0.68, 0.82} {
		ridge := base + 0.16*(rough(2.2*x+9*float64(i), 3*float64(i))-0.5) + 0.02*(rough(14*x, float64(i))-0.5)
		if y > ridge {
			near := float64(i) / 3
			ground := mix(rgb{128, 132, 160}, rgb{32, 66, 44}, near)
			ground = mix(ground, rgb{168, 160, 104}, near*0.9*(rough(18*x, 30*y)-0.3))
			c = mix(ground, rgb{222, 196, 180}, (0.55-0.4*near)*math.Exp(-9*(y-ridge)))
		}
	}
	return c
}

func sea(x, y float64) rgb {
	const horizon = 0.52
	if y < horizon {
		c := mix(rgb{10, 16, 40}, rgb{58, 84, 132}, y/horizon)
		c = mix(c, rgb{120, 134, 170}, 1.3*rough(3*x, 9*y)-0.62)
		moon := math.Hypot(x-0.36, y-0.2)
		c = mix(c, rgb{190, 200, 220}, 0.45*math.Exp(-8*moon))
		if moon < 0.075 {
			return mix(rgb{246, 242, 224}, rgb{205, 202, 190}, 1.6*rough(22*x, 22*y)-0.5)
		}
		if hash(int(x*128), int(y*128)) > 0.996 {
			return rgb{230, 232, 240}
		}
		return c
	}
	depth := (y - horizon) / (1 - horizon)
	c := mix(rgb{46, 70, 112}, rgb{8, 18, 34}, depth)
	waves := rough(6*x/(0.15+depth), 5/(0.06+depth))
	c = mix(c, rgb{120, 146, 184}, 1.5*waves-0.85)
	glitter := math.Exp(-60*math.Pow((x-0.36)/(0.35+depth), 2)) * noise(60*x, 90*y)
	return mix(c, rgb{250, 244, 220}, 1.5*glitter-0.25)
}

func dunes(x, y float64) rgb {
	c := mix(rgb{92, 150, 204}, rgb{222, 232, 232}, 2.6*y)
	for i, base := range []float64{0.36, 0.52, 0.74} {
		f := float64(i)
		ridge := base + 0.13*math.Sin(3.1*x+2.2*f+0.8) + 0.05*(rough(3*x+5*f, f)-0.5)
		if y > ridge {
			slope := math.Cos(3.1*x + 2.2*f + 0.8)
			sand := mix(rgb{150, 98, 60}, rgb{240, 200, 138}, 0.55+0.5*slope-0.7*(y-ridge))
			ripple := math.Sin(150*(y-ridge)/(0.5+f/2) + 9*rough(5*x, 5*y+f))
			c = mix(sand, rgb{116, 74, 46}, 0.10+0.12*ripple)
		}
	}
	return c
}

func city(x, y float64) rgb {
	c := mix(rgb{28, 24, 58}, rgb{214, 108, 92}, 1.25*y)
	for layer, height := range []float64{0.58, 0.44, 0.30} {
		n := 9 + 3*layer
		cell := int(x*float64(n)) + 100*layer
		within := x*float64(n) - math.Floor(x*float64(n))
		top := 1 - height*(0.55+0.75*hash(cell, 3))
		if within > 0.94 || y < top {
			continue
		}
		wall := mix(rgb{86, 62, 96}, rgb{22, 20, 34}, float64(layer)/2)
		c = mix(wall, rgb{10, 10, 20}, 0.5*(y-top)+0.3*rough(20*x, 20*y)-0.1)
		row, column := int((y-top)*34), int(within*6)
		inWindow := math.Mod((y-top)*34, 1) > 0.45 && math.Mod(within*6, 1) > 0.35 && within > 0.1 && within < 0.86 && row > 0
		if inWindow && hash(cell*31+column, row) > 0.45 {
			c = mix(rgb{250, 204, 120}, rgb{150, 190, 230}, hash(cell+row, column))
		}
	}
	return c
}
