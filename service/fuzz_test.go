package service

import (
	"bytes"
	"math"
	"mime/multipart"
	"runtime"
	"strings"
	"testing"

	"stegomq/schemas"
)

// FuzzForm reads any body: it is a form whose fields are those that there are, or an error, and never takes more room than the body has.
func FuzzForm(f *testing.F) {
	const boundary = "b"
	body := []byte("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nalice\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"cover\"; filename=\"a\"\r\n\r\none\r\n--b--\r\n")
	f.Add(body, int64(len(body)))
	f.Add(body[:len(body)/2], int64(-1))
	two := append(bytes.Clone(body[:len(body)-len("--b--\r\n")]), "--b\r\nContent-Disposition: form-data; name=\"secret\"; filename=\"a\"\r\n\r\nanother\r\n--b--\r\n"...)
	f.Add(two, int64(len(two)))
	f.Add(two, int64(-1))
	f.Add([]byte("--b--\r\n"), int64(0))
	f.Fuzz(func(t *testing.T, body []byte, size int64) {
		var key, model string
		names, words := schemas.Operation_OPERATION_EMBED.Describe().Images, map[string]*string{"key": &key, "model": &model}
		images, err := readParts(multipart.NewReader(bytes.NewReader(body), boundary), names, words, min(size, 1<<16))
		if err != nil {
			return
		}
		total := len(key) + len(model)
		for name, data := range images {
			if name != "cover" && name != "secret" {
				t.Errorf("a field %q", name)
			}
			total += len(data)
			// No image is written over by the next: each is in the body as it is.
			if !bytes.Contains(body, data) && !bytes.Contains(bytes.ToLower(body), []byte("quoted-printable")) {
				t.Errorf("%s is not in the body", name)
			}
		}
		if total > len(body) {
			t.Errorf("%d bytes of a body of %d", total, len(body))
		}
	})
}

// The images of a body take the room of one body, however large each of them is. It does not run beside other tests, which take room too.
func TestImagesShareTheRoomOfABody(t *testing.T) { //nolint:paralleltest // see above
	large := make([]byte, 16<<20)
	contentType, body := fields{"cover": []byte("small"), "secret": large}.body(t)
	_, boundary, _ := strings.Cut(contentType, "boundary=")
	took := uint64(math.MaxUint64)
	for range 5 { // the pipeline takes room, too, most of it while it begins: the least is what the body took
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		images, err := readParts(multipart.NewReader(bytes.NewReader(body), boundary), []string{"cover", "secret"}, nil, int64(len(body)))
		runtime.ReadMemStats(&after)
		if err != nil || string(images["cover"]) != "small" || !bytes.Equal(images["secret"], large) {
			t.Fatalf("%d images: %v", len(images), err)
		}
		took = min(took, after.TotalAlloc-before.TotalAlloc)
	}
	if took > uint64(len(body)*5/4) {
		t.Errorf("a body of %d bytes took %d", len(body), took)
	}
}
