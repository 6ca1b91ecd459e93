package service

import (
	"bytes"
	"mime/multipart"
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
		}
		if total > len(body) {
			t.Errorf("%d bytes of a body of %d", total, len(body))
		}
	})
}
