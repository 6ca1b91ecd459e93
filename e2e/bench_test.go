package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// baseline names another build of the program, to compare this one with.
const baseline = "STEGOMQ_BASELINE"

// programs are the one that is measured and, where there is one, the baseline.
func programs() []string {
	if other := os.Getenv(baseline); other != "" {
		return []string{program, other}
	}
	return []string{program}
}

// report reports the medians of this program's measurements, in seconds, and of their ratios to the baseline's, which were measured alternately.
func report(b *testing.B, unit string, measured [][]float64) {
	b.ReportMetric(median(measured[0])*1e3, "ms/"+unit)
	if len(measured) < 2 {
		return
	}
	ratios := make([]float64, len(measured[0]))
	for i := range ratios {
		ratios[i] = measured[0][i] / measured[1][i]
	}
	b.ReportMetric(median(ratios), "of-baseline")
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// benchHome is a folder for each program, with pictures in one that they share, and the environment of both.
func benchHome(b *testing.B) (photos string, env []string) {
	b.Helper()
	dir := b.TempDir()
	photos = filepath.Join(dir, "photos")
	if err := os.MkdirAll(photos, 0o755); err != nil {
		b.Fatal(err)
	}
	return photos, []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "STEGOMQ_ORT_LIB=" + ortLibrary, "STEGOMQ_MODELS=" + tinyModels(), "STEGOMQ_MODEL=tiny",
	}
}

// BenchmarkEmbedStream is one request at a time to an idle `embed --stream`, 32x32 pixels.
func BenchmarkEmbedStream(b *testing.B) {
	photos, env := benchHome(b)
	names := programs()
	streams := make([]*stream, len(names))
	for i, name := range names {
		streams[i] = openStream(b, name, env)
	}
	const warm = 20
	measured := make([][]float64, len(names))
	for n := range warm + b.N {
		request, err := json.Marshal(map[string]string{
			"id": fmt.Sprint("request-", n), "key": "demo-1", "cover": pictureFile(b, photos, 2*n), "secret": pictureFile(b, photos, 2*n+1),
			"out": filepath.Join(photos, "stego.png"),
		})
		if err != nil {
			b.Fatal(err)
		}
		if n == warm {
			b.ResetTimer()
		}
		for i, s := range streams {
			start := time.Now()
			s.ask(b, request)
			if n >= warm {
				measured[i] = append(measured[i], time.Since(start).Seconds())
			}
		}
	}
	b.StopTimer()
	report(b, "request", measured)
}

// BenchmarkEvaluate is the CPU time of an `evaluate` of 400 pairs of 32x32 pixels with two keys, 6000 comparisons, everything embedded:
// mostly the queue, and hardly any network.
func BenchmarkEvaluate(b *testing.B) {
	photos, env := benchHome(b)
	for i := range 800 {
		pictureFile(b, photos, i)
	}
	names := programs()
	measured := make([][]float64, len(names))
	for b.Loop() {
		for i, name := range names {
			dir := b.TempDir()
			cmd := exec.CommandContext(b.Context(), name, "evaluate", "--data", photos, "--keys", "2", "--random-keys", "1", "--size", "32",
				"--state", filepath.Join(dir, "state"), "--out", filepath.Join(dir, "out"))
			cmd.Env = env
			if text, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%s: %v\n%s", name, err, text)
			}
			measured[i] = append(measured[i], (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
			if err := os.RemoveAll(dir); err != nil {
				b.Fatal(err)
			}
		}
	}
	report(b, "run", measured)
}

// pictureFile makes a small picture, the same for the same number.
func pictureFile(b *testing.B, dir string, number int) string {
	b.Helper()
	path := filepath.Join(dir, fmt.Sprintf("%05d.png", number))
	file, err := os.Create(path)
	if err == nil {
		err = errors.Join(png.Encode(file, picture(uint64(number+1), 32, 32)), file.Close())
	}
	if err != nil {
		b.Fatal(err)
	}
	return path
}

// stream is an `embed --stream` that is asked one request at a time.
type stream struct {
	in  io.Writer
	out *bufio.Scanner
}

func openStream(b *testing.B, name string, env []string) *stream {
	b.Helper()
	cmd := exec.Command(name, "embed", "--stream", "--size", "32", "--state", b.TempDir())
	cmd.Env = env
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := in.Close(); err != nil {
			b.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	return &stream{in: in, out: bufio.NewScanner(out)}
}

func (s *stream) ask(b *testing.B, request []byte) {
	b.Helper()
	if _, err := s.in.Write(append(request, '\n')); err != nil {
		b.Fatal(err)
	}
	if !s.out.Scan() {
		b.Fatalf("no reply: %v", s.out.Err())
	}
	var reply struct {
		OK bool `json:"ok"`
	}
	if err := json.Unmarshal(s.out.Bytes(), &reply); err != nil || !reply.OK {
		b.Fatalf("%s", s.out.Bytes())
	}
}
