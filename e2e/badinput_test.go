package e2e

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"os"
	"strings"
	"syscall"
	"testing"
)

// hugePNG is a PNG file whose header promises 60,000 x 60,000 pixels.
func hugePNG() []byte {
	var buf bytes.Buffer
	buf.WriteString("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		body := append([]byte(kind), data...)
		_ = binary.Write(&buf, binary.BigEndian, uint32(len(data)))
		buf.Write(body)
		_ = binary.Write(&buf, binary.BigEndian, crc32.ChecksumIEEE(body))
	}
	header := binary.BigEndian.AppendUint32(nil, 60000)
	header = binary.BigEndian.AppendUint32(header, 60000)
	chunk("IHDR", append(header, 8, 2, 0, 0, 0))
	chunk("IDAT", []byte{0x78, 0x9c, 0x03, 0, 0, 0, 0, 1})
	chunk("IEND", nil)
	return buf.Bytes()
}

func animatedGIF(t *testing.T) []byte {
	t.Helper()
	frame := image.NewPaletted(image.Rect(0, 0, 40, 40), color.Palette{color.Black, color.White})
	var buf bytes.Buffer
	must(t, gif.EncodeAll(&buf, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{10, 10}}))
	return buf.Bytes()
}

// maxMemory bounds the memory of a run on small images, whatever its input claims, in bytes.
const maxMemory = 700 << 20

func TestBadFiles(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 64, 48)
	photo := encodeJPEG(t, picture(9, 64, 48))
	bad := map[string]string{ // file to a word of its reason
		"00-truncated.jpg":    "truncated",
		"01-text.png":         "unsupported",
		"02-empty.jpg":        "empty",
		"03-huge.png":         "60000x60000",
		"04-animated.gif":     "GIF",
		"05-one-pixel.png":    "1x1",
		"06-dangling.jpg":     "no such file",
		"sub/07-pipe.jpg":     "not a regular file",
		"08-damaged.png":      "damaged",
		"09 a \"name\",1.jpg": "truncated",
	}
	h.write("photos/00-truncated.jpg", photo[:len(photo)/2])
	h.write("photos/01-text.png", []byte("this is not a picture\n"))
	h.write("photos/02-empty.jpg", nil)
	h.write("photos/03-huge.png", hugePNG())
	h.write("photos/04-animated.gif", animatedGIF(t))
	h.write("photos/05-one-pixel.png", encodePNG(t, picture(1, 1, 1)))
	must(t, os.Symlink("nowhere.jpg", h.path("photos", "06-dangling.jpg")))
	h.mkdir("photos", "sub")
	must(t, syscall.Mkfifo(h.path("photos", "sub", "07-pipe.jpg"), 0o644)) // reading it would never end
	flipped := encodePNG(t, picture(2, 40, 40))
	flipped[len(flipped)/2] ^= 0xff
	h.write("photos/08-damaged.png", flipped)
	h.write("photos/09 a \"name\",1.jpg", photo[:len(photo)-3]) // its end marker, which may be missing, and a byte of its data
	h.mkdir("photos", "10-folder.jpg")                          // a folder is no image and holds none
	h.write("photos/notes.txt", []byte("not by its name either"))

	for _, again := range []bool{false, true} {
		r := h.run("evaluate", "--data", "photos", "--keys", "2", "--size", "32", "--out", "out")
		r.want(t, 1, "evaluate")
		sum := h.summary("out")
		wantCounts(t, sum, h.items("out"), 2, 2, 1, 0)
		reasons := make(map[string]string)
		for _, f := range sum.Dataset.Failed {
			reasons[f.Name] = f.Reason
		}
		if sum.Dataset.Images != 4 || len(reasons) != len(bad) {
			t.Errorf("%d images, bad ones: %v", sum.Dataset.Images, reasons)
		}
		for name, word := range bad {
			if !strings.Contains(reasons[name], word) {
				t.Errorf("summary.json says of %s: %q, want %q in it", name, reasons[name], word)
			}
			if !strings.Contains(r.stderr, name+": "+reasons[name]) {
				t.Errorf("standard error does not name %s with its reason:\n%s", name, r.stderr)
			}
			if !bytes.Contains(read(t, h.path("out", "report.md")), []byte(name)) {
				t.Errorf("report.md does not name %s", name)
			}
		}
		if !strings.Contains(lastLine(r.stderr), "files that could not be used: 10") {
			t.Errorf("the last line is %q", lastLine(r.stderr))
		}
		t.Logf("the program took %d MiB", r.maxRSS>>20)
		if r.maxRSS > maxMemory {
			t.Errorf("the program took %d MiB", r.maxRSS>>20)
		}
		if again && sum.Cache.Misses != 0 {
			t.Errorf("the second time: cache %+v", sum.Cache)
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[len(lines)-1]
}
