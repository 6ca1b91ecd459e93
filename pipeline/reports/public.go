package reports

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"

	"stegomq/internal/model"
	"stegomq/internal/modulo"
	"stegomq/internal/pixel"
	"stegomq/internal/rotation"
	"stegomq/report"
)

// WritePublic writes what anybody can compute from the stego images in folder/stego of a modulo model into folder/public, a file of
// NumPy's format for each, and says how many.
func WritePublic(m *model.Model, folder string) (n int, out string, err error) {
	profile, err := moduloProfile(m)
	if err != nil {
		return 0, "", err
	}
	paths, err := filepath.Glob(filepath.Join(folder, "stego", "*.png"))
	if err != nil || len(paths) == 0 {
		return 0, "", errors.Join(err, fmt.Errorf("--images %s: there is no stego image in %s: give the folder images of a run of `stegomq evaluate --save-images`",
			folder, filepath.Join(folder, "stego")))
	}
	var files []report.File
	for _, path := range paths {
		array, err := publicArray(profile, path)
		if err != nil {
			return 0, "", fmt.Errorf("%s: %w", path, err)
		}
		files = append(files, report.File{Name: strings.TrimSuffix(filepath.Base(path), ".png") + ".npy", Data: array})
	}
	out = filepath.Join(folder, "public")
	return len(files), out, report.WriteFolder(out, files)
}

// moduloProfile is that of a model, which must be a modulo one.
func moduloProfile(m *model.Model) (modulo.Profile, error) {
	name, _ := m.Manifest.Config["profile"].(string)
	if m.Manifest.Backbone != "modulo" {
		return modulo.Profile{}, fmt.Errorf("--model %s: beyond the image itself nothing is public that an attacker could not compute alone; this is for modulo models", m.Name)
	}
	return modulo.ProfileOf(name)
}

// publicArray is the rotated secret of a stego image in NumPy's format.
func publicArray(p modulo.Profile, path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	img, _, err := pixel.Decode(data, pixel.Limits{})
	if err != nil {
		return nil, err
	}
	width, height := img.Rect.Dx(), img.Rect.Dy()
	payload, err := p.Payload(planar(img), width, height)
	if err != nil {
		return nil, err
	}
	const side = 16
	return npy(payload, rotation.Frequencies, (height+side-1)/side, (width+side-1)/side)
}

// planar is the image as its red, its green and its blue samples.
func planar(m *image.NRGBA) []byte {
	n := m.Rect.Dx() * m.Rect.Dy()
	planes := make([]byte, 3*n)
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			for c := range 3 {
				planes[c*n+y*m.Rect.Dx()+x] = m.Pix[y*m.Stride+4*x+c]
			}
		}
	}
	return planes
}

// npy writes values in row-major order as float32 in NumPy's format, version 1.0 (NEP 1).
func npy(values []float64, shape ...int) ([]byte, error) {
	const alignment, fixed = 64, 10
	words := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", words)
	head += strings.Repeat(" ", alignment-(fixed+len(head)+1)%alignment) + "\n"
	var out bytes.Buffer
	out.WriteString("\x93NUMPY\x01\x00")
	if err := binary.Write(&out, binary.LittleEndian, uint16(len(head))); err != nil {
		return nil, err
	}
	out.WriteString(head)
	narrow := make([]float32, len(values))
	for i, v := range values {
		narrow[i] = float32(v)
	}
	err := binary.Write(&out, binary.LittleEndian, narrow)
	return out.Bytes(), err
}
