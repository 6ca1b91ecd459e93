package flagfile

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	for text, want := range map[string]map[string]string{
		"":                                   {},
		"nats: nats://host:4222\nslots: 4\n": {"nats": "nats://host:4222", "slots": "4"},
		"models: [a, b]\ninline: false\n":    {"models": "a,b", "inline": "false"},
		// A name without a value is as if it were not there.
		"redis:\nmodels: [a, null]\nkeyring: []\n": {"redis": "", "models": "a", "keyring": ""},
		"datasets: {photos: /data}\n":              nil,
		"models: [[a], b]\n":                       nil,
		"- a\n":                                    nil,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); !maps.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is read")
	}
}

// A flag that was given stays, the environment goes before the file, and an unknown name is an error beside a wrong value.
func TestFill(t *testing.T) {
	cmd := &cobra.Command{Use: "test"}
	given, fromEnv, fromFile, untouched := cmd.Flags().String("given", "", ""), cmd.Flags().String("from-env", "", ""), cmd.Flags().Int("from-file", 1, ""), cmd.Flags().String("untouched", "default", "")
	if err := cmd.Flags().Set("given", "flag"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_GIVEN", "env")
	t.Setenv("TEST_FROM_ENV", "env")
	if err := Fill(cmd, "TEST_", "file", map[string]string{"given": "file", "from-env": "file", "from-file": "2", "untouched": ""}); err != nil {
		t.Fatal(err)
	}
	if *given != "flag" || *fromEnv != "env" || *fromFile != 2 || *untouched != "default" {
		t.Errorf("%q, %q, %d, %q", *given, *fromEnv, *fromFile, *untouched)
	}
	cmd = &cobra.Command{Use: "test"}
	cmd.Flags().Int("number", 1, "")
	err := Fill(cmd, "TEST_", "file", map[string]string{"number": "many", "unknown": "1"})
	if err == nil || !strings.Contains(err.Error(), "file: number") || !strings.Contains(err.Error(), `no command has a flag "unknown"`) {
		t.Errorf("%v", err)
	}
}
