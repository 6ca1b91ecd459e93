package quality

import (
	"image"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// bothWays compares two images without assembly, and with it where the processor has what it needs. It must not run beside others that compare.
func bothWays(t *testing.T, a, b *image.NRGBA) (plain, assembly Scores) {
	t.Helper()
	defer func(v bool) { vectors = v }(vectors)
	has := vectors
	score := func(v bool) Scores {
		vectors = v
		s, err := Compare(a, b)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return score(false), score(has)
}

// TestProcessor: the kernel and the package agree on what the processor has, and without it the plain code gives the same.
func TestProcessor(t *testing.T) {
	if os.Getenv("QUALITY_WITHOUT_AVX2") != "" {
		if vectors {
			t.Fatal("assembly on a processor without AVX2")
		}
		return
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	if has := strings.Contains(string(info), " avx2 ") && strings.Contains(string(info), " fma "); vectors != has {
		t.Errorf("assembly: %v, AVX2 and FMA: %v", vectors, has)
	}
	without := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^(TestProcessor|TestVersion|TestGolden)$")
	without.Env = append(os.Environ(), "GODEBUG=cpu.avx2=off", "QUALITY_WITHOUT_AVX2=1")
	if out, err := without.CombinedOutput(); err != nil {
		t.Errorf("without AVX2: %v\n%s", err, out)
	}
}
