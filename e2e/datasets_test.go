package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"stegomq/study"
)

// tarOf makes an archive of files of the home, in their order, under their base names.
func (h *home) tarOf(name string, files ...string) string {
	h.t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, file := range files {
		data := read(h.t, h.path(file))
		must(h.t, w.WriteHeader(&tar.Header{Name: "./" + filepath.Base(file), Size: int64(len(data)), Mode: 0o644}))
		_, err := w.Write(data)
		must(h.t, err)
		must(h.t, w.WriteHeader(&tar.Header{Name: "./" + filepath.Base(file) + ".cls", Size: 1, Mode: 0o644})) // as WebDataset has beside images
		_, err = w.Write([]byte("7"))
		must(h.t, err)
	}
	must(h.t, w.Close())
	h.write(name, buf.Bytes())
	return name
}

// digestOfFiles is the output of `sha256sum FILES | cut -c-64 | sort -u | sha256sum`.
func (h *home) digestOfFiles(files ...string) string {
	h.t.Helper()
	sum := func(data []byte) string { s := sha256.Sum256(data); return hex.EncodeToString(s[:]) }
	var digests []string
	for _, file := range files {
		digests = append(digests, sum(read(h.t, h.path(file))))
	}
	slices.Sort(digests)
	return sum([]byte(strings.Join(slices.Compact(digests), "\n") + "\n"))
}

// The same images in every layout are the same data set with the same scores, made once.
func TestLayouts(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 6, 48, 40)
	var files []string
	for i := range 6 {
		files = append(files, fmt.Sprintf("photos/%02d.%s", i, []string{"jpg", "png"}[i%2]))
		class := h.path("split", "val", fmt.Sprintf("n%08d", i/2))
		must(t, os.MkdirAll(class, 0o755))
		must(t, os.Link(h.path(files[i]), filepath.Join(class, filepath.Base(files[i]))))
	}
	must(t, os.Symlink(h.path("split"), h.path("split", "val", "loop")))
	h.tarOf("shards/part-000000.tar", files[:3]...)
	h.tarOf("shards/part-000001.tar", files[3:]...)
	h.tarOf("one.tar", files...)
	h.write("lists/images.txt", []byte("../"+strings.Join(files, "\n../")+"\n"))
	h.write("lists/pairs.csv", []byte(fmt.Sprintf("cover,secret\n../%s,../%s\n../%s,../%s\n../%s,../%s\n", files[0], files[1], files[2], files[3], files[4], files[5])))
	evaluate := func(out string, args ...string) *study.Summary {
		t.Helper()
		h.ok(append([]string{"evaluate", "--size", "32", "--out", out}, args...)...)
		return h.summary(out)
	}
	flat := evaluate("flat", "--data", "photos")
	wantCounts(t, flat, h.items("flat"), 3, 2, 1, 0)
	if want := h.digestOfFiles(files...); flat.Dataset.Digest != want {
		t.Errorf("the data set is %s, want %s", flat.Dataset.Digest, want)
	}
	for _, place := range []string{"split", "shards", "one.tar", "lists/images.txt", "lists/pairs.csv"} {
		sum := evaluate("out/"+place, "--data", place)
		if sum.Dataset.Digest != flat.Dataset.Digest || sum.Dataset.Images != 6 || sum.Dataset.Pairs != 3 || len(sum.Dataset.Failed) != 0 {
			t.Errorf("%s: data set %+v, want %+v", place, sum.Dataset, flat.Dataset)
		}
		if sum.Cache.Misses != 0 || !bytes.Equal(read(t, h.path("out", place, "items.csv")), read(t, h.path("flat", "items.csv"))) {
			t.Errorf("%s: cache %+v, or other scores than of the folder", place, sum.Cache)
		}
		if sum.Run == flat.Run {
			t.Errorf("%s has the run of the folder: %s", place, sum.Run)
		}
	}
	if report := string(read(t, h.path("flat", "report.md"))); !strings.Contains(report, "data set "+flat.Dataset.Digest[:12]) {
		t.Errorf("report.md does not name the data set:\n%s", report)
	}

	sampled := evaluate("sampled", "--data", "one.tar", "--sample", "2", "--sample-seed", "3")
	if s := sampled.Dataset.Sample; s == nil || *s != (study.Sample{Pairs: 2, Of: 3, Seed: 3}) || sampled.Dataset.Pairs != 2 {
		t.Errorf("the sample is %+v", sampled.Dataset)
	}
	again := evaluate("again", "--data", "photos", "--sample", "2", "--sample-seed", "3")
	if again.Dataset.Digest != sampled.Dataset.Digest || again.Dataset.Digest == flat.Dataset.Digest || again.Cache.Misses != 0 {
		t.Errorf("the folder gives the sample %s, the archive %s", again.Dataset.Digest, sampled.Dataset.Digest)
	}
	if limited := evaluate("limited", "--data", "photos", "--limit", "1"); limited.Dataset.Digest != h.digestOfFiles(files[:2]...) || limited.Dataset.Sample != nil {
		t.Errorf("the first pair is %+v", limited.Dataset)
	}
}

// Damaged members are named with the reason, and the rest is evaluated, by roles in other processes.
func TestShardsOverServers(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 48, 40)
	h.write("bad.png", []byte("this is not a picture\n"))
	h.write("empty.jpg", nil)
	h.tarOf("shards/0.tar", "photos/00.jpg", "bad.png", "photos/01.png", "empty.jpg", "photos/02.jpg")
	h.tarOf("shards/1.tar", "photos/03.png", "photos/00.jpg")
	must(t, os.Truncate(h.path("shards", "1.tar"), int64(512+len(read(t, h.path("photos", "03.png")))+1024+512)))
	h.write("shards/2.tar", []byte(strings.Repeat("no archive\n", 100)))
	up := h.start("up", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
	ready := up.await(`ready: --nats (\S+) --redis (\S+)`)
	servers := []string{"--nats", ready[1], "--redis", ready[2]}

	r := h.run(append([]string{"evaluate", "--data", "shards", "--size", "32", "--save-images", "--out", "out"}, servers...)...)
	r.want(t, 1, "evaluate")
	sum := h.summary("out")
	wantCounts(t, sum, h.items("out"), 2, 2, 1, 0)
	for name, word := range map[string]string{
		"0.tar/bad.png": "not an image", "0.tar/empty.jpg": "empty file", "1.tar": "", "2.tar": "not a tar archive",
	} {
		i := slices.IndexFunc(sum.Dataset.Failed, func(f study.Failed) bool { return f.Name == name })
		if i < 0 || !strings.Contains(sum.Dataset.Failed[i].Reason, word) || !strings.Contains(r.stderr, name+": ") {
			t.Errorf("%s is not named with %q: %+v\n%s", name, word, sum.Dataset.Failed, r.stderr)
		}
	}
	for _, i := range h.items("out") {
		for _, file := range []string{i.reference, i.test} {
			if len(read(t, h.path("out", file))) == 0 {
				t.Errorf("%s is empty", file)
			}
		}
	}
	up.signal(syscall.SIGINT)
	if code := up.end(); code != 0 {
		t.Errorf("exit code of up: %d", code)
	}
}

func TestReportCompare(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 8, 48, 40)
	for run, args := range map[string][]string{
		"two": {"--keys", "2"}, "one": {"--keys", "1"}, "small": {"--size", "24"}, "fewer": {"--limit", "3"},
	} {
		h.ok(append([]string{"evaluate", "--data", "photos", "--size", "32", "--run", run, "--out", "files/" + run}, args...)...)
	}
	r := h.ok("report", "compare", "two", "one", "--json", "--out", "compared")
	var p, written study.Paired
	for _, c := range []struct {
		data []byte
		into *study.Paired
	}{{[]byte(r.stdout), &p}, {read(t, h.path("compared", "comparison.json")), &written}} {
		dec := json.NewDecoder(bytes.NewReader(c.data))
		dec.DisallowUnknownFields()
		must(t, dec.Decode(c.into))
	}
	if p.A.Run != "two" || p.B.Run != "one" || p.Pairs != 4 || p.Dataset != h.summary("files/two").Dataset.Digest || len(p.Roles) != len(written.Roles) {
		t.Errorf("compared %+v", p)
	}
	if !slices.Contains(p.LeftOut, study.Failed{Name: "leakage_mismatched", Reason: "only two has it"}) {
		t.Errorf("left out %v", p.LeftOut)
	}
	// The mean of A is the recomputed mean of the pairs' means.
	means := func(out, role string) (all map[string]float64) {
		n := make(map[string]float64)
		all = make(map[string]float64)
		for _, i := range h.items(out) {
			if i.role == role {
				all[i.item], n[i.item] = all[i.item]+i.scores.PSNR, n[i.item]+1
			}
		}
		for item := range all {
			all[item] /= n[item]
		}
		return all
	}
	checked := 0
	for _, role := range p.Roles {
		a, b := means("files/two", role.Role), means("files/one", role.Role)
		var mean float64
		for item := range a {
			mean += (a[item] - b[item]) / float64(len(a))
		}
		d := role.PSNR
		if role.N != 4 || math.Abs(d.Mean-mean) > 1e-9 || d.CI95 == nil || d.CI95.Low > mean+1e-9 || d.CI95.High < mean-1e-9 || d.HoldsZero != (d.CI95.Low <= 0 && d.CI95.High >= 0) {
			t.Errorf("%s: %+v, want the mean %v", role.Role, d, mean)
		}
		checked++
	}
	if checked < 6 {
		t.Errorf("%d roles", checked)
	}
	text := h.ok("report", "compare", "two", "one").stdout
	for _, what := range []string{"A: run two", "B: run one", "no verdict on fewer than 8 pairs", "left out: leakage_mismatched"} {
		if !strings.Contains(text, what) {
			t.Errorf("%q is not printed:\n%s", what, text)
		}
	}
	if md := string(read(t, h.path("compared", "comparison.md"))); !strings.Contains(md, "# Run two against run one") {
		t.Errorf("comparison.md:\n%s", md)
	}
	// Folders do as well, with no cache at hand.
	if got := h.ok("report", "compare", "files/two", "files/one", "--json", "--state", "elsewhere").stdout; got != r.stdout {
		t.Errorf("of the folders:\n%s\nof the ids:\n%s", got, r.stdout)
	}
	if got := h.ok("report", "compare", "files/two", "one", "--json").stdout; got != r.stdout {
		t.Errorf("of a folder and an id:\n%s", got)
	}
	h.run("report", "compare", "./photos", "one").wantError(t, 2, "photos", "not the folder of a run", "evaluate --out")
	h.run("report", "compare", "two", "small").wantError(t, 2, "cannot be compared", "32x32", "24x24", "--size")
	h.run("report", "compare", "two", "fewer").wantError(t, 2, "cannot be compared", "1 of the 4 of two are not in fewer", "--limit")
	h.run("report", "compare", "two", "tow").wantError(t, 2, "tow", "two")
}
