package keyring

import (
	"io"
	"strings"
	"testing"
)

func TestReadPassphrase(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"a b\n": "a b", "a\r\nmore": "a", "no end": "no end", "\n": "", " kept \n": " kept "} {
		got, err := ReadPassphrase(strings.NewReader(in), io.Discard)
		if err != nil || string(got) != want || got == nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if got, err := ReadPassphrase(strings.NewReader(""), io.Discard); err == nil {
		t.Errorf("nothing gave %q", got)
	}
}
