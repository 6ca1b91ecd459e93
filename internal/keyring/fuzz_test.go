package keyring

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Whatever parse takes holds only what may be stored, and comes back the same; it refuses everything else
// as ErrFormat.
func FuzzParse(f *testing.F) {
	key := strings.Repeat("0123456789abcdef", 4)
	f.Add([]byte(`{"version":1,"public":false,"note":"n","keys":[{"id":"alice","embed":"` + key + `","recover":"` + key + `","created":"2026-11-23T00:00:00Z"}]}`))
	f.Add([]byte(`{"version":1,"public":true,"keys":[]}`))
	base := "09" + strings.Repeat("00", 31) // the base point of X25519
	f.Add([]byte(`{"version":1,"keys":[{"id":"half","embed":"` + base + `","created":"2026-11-23T00:00:00Z"}]}`))
	f.Add([]byte(`{"version":1,"keys":[{"id":"half","embed":"` + base + `","recover":""}]}`))
	f.Add([]byte(`{"version":1,"keys":[{"id":"half","embed":"` + strings.Repeat("00", 32) + `","recover":null}]}`))
	f.Add([]byte(`{"version":1,"keys":[{"id":"a","embed":1}]}`))
	f.Add([]byte(`{"version":1,"keys":[{"id":"random-1-1"}]} x`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parse(data, "fuzz")
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		for _, p := range k.List() {
			if err := p.check(); err != nil {
				t.Fatalf("a pair that may not be stored: %v", err)
			}
		}
		first, err := k.marshal()
		if err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		again, err := parse(first, "fuzz")
		if err != nil {
			t.Fatalf("read what was written: %v\n%s", err, first)
		}
		second, err := again.marshal()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v\n%s\nbecomes\n%s", err, first, second)
		}
	})
}
