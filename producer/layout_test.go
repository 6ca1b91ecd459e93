package producer_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"stegomq/internal/pixel"
	"stegomq/internal/testrig"
	"stegomq/producer"
)

// member is what a test puts into an archive.
type member struct {
	name string
	data []byte
	kind byte // 0: a file
	link string
}

// shard makes a tar archive of members in their order.
func shard(t testing.TB, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range members {
		err := w.WriteHeader(&tar.Header{Name: m.name, Typeflag: cmp.Or(m.kind, tar.TypeReg), Linkname: m.link, Size: int64(len(m.data)), Mode: 0o644})
		if err == nil {
			_, err = w.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// images are members that are small pictures, each another one.
func images(t testing.TB, names ...string) []member {
	t.Helper()
	var all []member
	for i, name := range names {
		all = append(all, member{name: name, data: picture(t, uint64(1000+len(names)*100+i), 20, 20)})
	}
	return all
}

func expectBad(t *testing.T, d *producer.Dataset, want ...[2]string) {
	t.Helper()
	for i, bad := range d.Bad {
		if i >= len(want) || bad.GetName() != want[i][0] || !strings.Contains(bad.GetReason(), want[i][1]) {
			t.Errorf("bad file %d is %q: %q", i, bad.GetName(), bad.GetReason())
		}
	}
	if len(d.Bad) != len(want) {
		t.Errorf("%d bad files, want %q", len(d.Bad), want)
	}
}

// The layouts of the data sets that the paper uses, as their archives unpack.
func TestFoldersOfDataSets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ files, pairs []string }{
		"DIV2K": {
			[]string{"DIV2K_valid_HR/0802.png", "DIV2K_valid_HR/0801.png", "DIV2K_train_HR/0002.png", "DIV2K_train_HR/0001.png"},
			[]string{"DIV2K_train_HR/0001.png+DIV2K_train_HR/0002.png", "DIV2K_valid_HR/0801.png+DIV2K_valid_HR/0802.png"},
		},
		"COCO": {
			[]string{"val2017/000000000139.jpg", "val2017/000000000285.jpg", "annotations/instances_val2017.json", "val2017.zip"},
			[]string{"val2017/000000000139.jpg+val2017/000000000285.jpg"},
		},
		"ImageNet": {
			[]string{
				"ILSVRC/Data/CLS-LOC/val/n01440764/ILSVRC2012_val_00000293.JPEG", "ILSVRC/Data/CLS-LOC/val/n01443537/ILSVRC2012_val_00000236.JPEG",
				"ILSVRC/Data/CLS-LOC/val/n01440764/ILSVRC2012_val_00002138.JPEG", "ILSVRC/ImageSets/CLS-LOC/val.txt", "val.tar",
			},
			[]string{"ILSVRC/Data/CLS-LOC/val/n01440764/ILSVRC2012_val_00000293.JPEG+ILSVRC/Data/CLS-LOC/val/n01440764/ILSVRC2012_val_00002138.JPEG"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := pictures(t, c.files...)
			d := readDataset(t, producer.DatasetOptions{Data: dir})
			images := 0
			for _, f := range c.files {
				if ext := filepath.Ext(f); ext == ".png" || ext == ".jpg" || ext == ".JPEG" {
					images++
				}
			}
			expectPairs(t, d, images, c.pairs...)
			expectBad(t, d)
		})
	}
}

// A folder that is a link is read where its own name stands, once, and links cannot lead round in circles.
func TestLinksToFolders(t *testing.T) {
	t.Parallel()
	dir, elsewhere := pictures(t, "a.png", "sub/b.png", "z.png"), pictures(t, "x", "y", "1.png", "deep/2.png", "deep/.hidden/3.png")
	for name, target := range map[string]string{
		"linked": elsewhere, "zz-again": elsewhere, "part": filepath.Join(elsewhere, "deep"), // of what linked leads to
		"aa-inside": filepath.Join(dir, "sub"), "self": dir, "sub/up": dir, "root": "/", "above": filepath.Dir(dir),
		".hidden": elsewhere, "nowhere": filepath.Join(dir, "nothing"), "notes.txt": filepath.Join(elsewhere, "x"),
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"deep/back": dir, "deep/round": elsewhere} {
		if err := os.Symlink(target, filepath.Join(elsewhere, name)); err != nil {
			t.Fatal(err)
		}
	}
	d := readDataset(t, producer.DatasetOptions{Data: dir})
	expectPairs(t, d, 5, "a.png+linked/1.png", "linked/deep/2.png+sub/b.png")
	expectBad(t, d)
}

func TestShards(t *testing.T) {
	t.Parallel()
	all := images(t, "b.jpg", "a.jpg", "sub/c.png", "./d.PNG", "../../e.webp", "/f.png")
	dir := t.TempDir()
	others := func(m ...member) []member { // what stands between a sample's images
		return slices.Concat([]member{{name: "folder.png/", kind: tar.TypeDir}, {name: "a.cls", data: []byte("7")}, {name: "a.json", data: []byte("{}")},
			{name: "._a.jpg", data: []byte("x")}, {name: "x/.git/a.jpg", data: []byte("x")}}, m, []member{{name: "z.txt", data: []byte("end")}})
	}
	testrig.WriteFile(t, shard(t, others(all[:3]...)...), dir, "train-000000.tar")
	testrig.WriteFile(t, shard(t, others(all[3:]...)...), dir, "more", "train-000001.TAR")
	testrig.WriteFile(t, []byte("not an image"), dir, "README.md")
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: dir})
		expectPairs(t, d, 6, "more/train-000001.TAR/d.PNG+more/train-000001.TAR/e.webp", "more/train-000001.TAR/f.png+train-000000.tar/b.jpg",
			"train-000000.tar/a.jpg+train-000000.tar/sub/c.png")
		expectBad(t, d)
		if got := d.Pairs[2].GetItem(); got != "00003-a" {
			t.Errorf("item %q", got)
		}
	})
	t.Run("one archive", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: filepath.Join(dir, "train-000000.tar")})
		expectPairs(t, d, 3, "train-000000.tar/b.jpg+train-000000.tar/a.jpg")
	})
	t.Run("covers in another", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: filepath.Join(dir, "more", "train-000001.TAR"), Covers: filepath.Join(dir, "train-000000.tar"), Limit: 2})
		expectPairs(t, d, 4, "train-000000.tar/b.jpg+train-000001.TAR/d.PNG", "train-000000.tar/a.jpg+train-000001.TAR/e.webp")
	})
	t.Run("images go before", func(t *testing.T) {
		t.Parallel()
		mixed := pictures(t, "a.png", "b.png")
		testrig.WriteFile(t, shard(t, all...), mixed, "0.tar")
		expectPairs(t, readDataset(t, producer.DatasetOptions{Data: mixed}), 2, "a.png+b.png")
	})
	t.Run("a link to an archive", func(t *testing.T) {
		t.Parallel()
		linked := t.TempDir()
		if err := os.Symlink(filepath.Join(dir, "train-000000.tar"), filepath.Join(linked, "x.tar")); err != nil {
			t.Fatal(err)
		}
		expectPairs(t, readDataset(t, producer.DatasetOptions{Data: linked}), 3, "x.tar/b.jpg+x.tar/a.jpg")
	})
}

// sparseMember is an archive with a file that was written without its holes, in the form of GNU tar 1.0.
func sparseMember(t *testing.T) []byte {
	t.Helper()
	data := make([]byte, 515) // a block with the table of what is stored, then that
	copy(data, "1\n0\n3\n")
	copy(data[512:], "abc")
	records := ""
	for _, r := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=sparse.png", "GNU.sparse.realsize=3"} {
		n := len(r) + 4
		records += fmt.Sprintf("%d %s\n", n, r)
	}
	// archive/tar writes no such records, so that the extended header is put together from a plain member.
	plain := shard(t, member{name: "x", data: []byte(records)})
	plain[156] = 'x'
	copy(plain[148:156], "        ")
	sum := 0
	for _, b := range plain[:512] {
		sum += int(b)
	}
	copy(plain[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return append(plain[:1024:1024], shard(t, append([]member{{name: "sparse.png", data: data}}, images(t, "b.png", "c.png")...)...)...)
}

func TestBadShards(t *testing.T) {
	t.Parallel()
	good := images(t, "a.png", "b.png", "c.png", "d.png")
	large := picture(t, 77, 60, 60)
	dir := t.TempDir()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(shard(t, good...)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	whole := shard(t, good[2:]...)
	for name, data := range map[string][]byte{
		"00.tar": shard(t, good[0], member{name: "empty.png"}, member{name: "text.png", data: []byte("this is not an image")},
			member{name: "link.png", kind: tar.TypeSymlink, link: "/etc/passwd"}, member{name: "hard.png", kind: tar.TypeLink, link: "a.png"},
			member{name: "pipe.png", kind: tar.TypeFifo}, member{name: "large.png", data: large}, member{name: "torn.png", data: good[0].data[:100]},
			member{name: "evil\x1b[2J\n.png", data: []byte("x")}, good[1]),
		"10.tar":    whole[:512+len(good[2].data)+511],                                  // within the padding of the first member, or its last bytes
		"20.tar":    whole[:512+100],                                                    // within the first member
		"30.tar":    []byte(strings.Repeat("no archive at all, and long enough\n", 40)), // text
		"40.tar":    {},
		"50.tar":    shard(t, member{name: "notes.txt", data: []byte("x")}),
		"60.tar":    packed.Bytes(), // wrongly named
		"70.tar.gz": packed.Bytes(),
		"80.tar":    sparseMember(t),
	} {
		testrig.WriteFile(t, data, dir, name)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "90.tar")); err != nil {
		t.Fatal(err)
	}
	d, err := producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: dir, Limits: pixel.Limits{MaxBytes: 3000}}, testrig.Cache(t))
	if err != nil {
		t.Fatal(err)
	}
	expectPairs(t, d, 5, "00.tar/a.png+00.tar/b.png", "10.tar/c.png+80.tar/b.png")
	expectBad(t, d,
		[2]string{"70.tar.gz", "gunzip"}, [2]string{"10.tar", "ends in the middle of a member; images found before: 1"},
		[2]string{"20.tar", "ends in the middle"}, [2]string{"30.tar", "not a tar archive"}, [2]string{"40.tar", "holds no image files"},
		[2]string{"50.tar", "holds no image files"}, [2]string{"60.tar", "is it compressed?"}, [2]string{"90.tar", "no such file"},
		[2]string{"00.tar/empty.png", "empty file"}, [2]string{"00.tar/text.png", "text, not an image"}, [2]string{"00.tar/link.png", "not a regular file"},
		[2]string{"00.tar/hard.png", "not a regular file"}, [2]string{"00.tar/pipe.png", "not a regular file"}, [2]string{"00.tar/large.png", "the limit is 3000"},
		[2]string{"00.tar/torn.png", "truncated"}, [2]string{"00.tar/evil\ufffd[2J\ufffd.png", "text, not an image"},
		[2]string{"20.tar/c.png", "the archive ends"}, [2]string{"80.tar/sparse.png", "sparse"})
	// One that is packed, alone, says what to do.
	for _, place := range []string{testrig.WriteFile(t, packed.Bytes(), t.TempDir(), "a.tar.gz"), filepath.Dir(testrig.WriteFile(t, packed.Bytes(), t.TempDir(), "val2017.zip"))} {
		if err := (producer.DatasetOptions{Data: place}).Check(); !errors.Is(err, producer.ErrDataset) || !strings.Contains(err.Error(), "unpack it first") {
			t.Errorf("%s: %v", place, err)
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	dir := pictures(t, "in/a.png", "in/b.png", "in/with, comma.png", "c.jpeg", "in/noextension")
	absolute := filepath.Join(pictures(t, "x", "y", "z", "u", "v", "far.png"), "far.png")
	list := func(name, text string) string { return testrig.WriteFile(t, []byte(text), dir, "lists", name) }
	t.Run("images", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: list("images.txt", "\ufeff# the order is ours\n../c.jpeg\r\n\n  ../in/b.png \n\"../in/with, comma.png\"\n"+absolute+"\n../in/noextension\n")})
		expectPairs(t, d, 5, "../c.jpeg+../in/b.png", "../in/with, comma.png+"+absolute)
		if d.Pairs[1].GetItem() != "00002-with__comma" {
			t.Errorf("item %q", d.Pairs[1].GetItem())
		}
	})
	t.Run("pairs", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: list("pairs.CSV", "Cover, Secret\n../in/b.png,../c.jpeg\n../in/a.png,../c.jpeg\n")})
		expectPairs(t, d, 3, "../in/b.png+../c.jpeg", "../in/a.png+../c.jpeg")
	})
	t.Run("pairs, some bad", func(t *testing.T) {
		t.Parallel()
		place := list("bad.csv", "../in/b.png,../none.png\n../in/a.png,../in/b.png\n../none.png,../c.jpeg\n.,../c.jpeg\n../c.jpeg,../in/a.png\n../in/b.png,../c.jpeg\n")
		d := readDataset(t, producer.DatasetOptions{Data: place, Limit: 2})
		expectPairs(t, d, 3, "../in/a.png+../in/b.png", "../c.jpeg+../in/a.png")
		expectBad(t, d, [2]string{"../none.png", "no such file"}, [2]string{".", "not a regular file"})
	})
	t.Run("heading", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: list("heading.csv", "path\n../in/a.png\n../in/b.png\n")})
		expectPairs(t, d, 2, "../in/a.png+../in/b.png")
	})
	t.Run("covers of their own", func(t *testing.T) {
		t.Parallel()
		covers := list("covers.txt", "../in/b.png\n../in/a.png\n")
		d := readDataset(t, producer.DatasetOptions{Data: list("secrets.txt", "../c.jpeg\n../c.jpeg\n"), Covers: covers})
		expectPairs(t, d, 3, "../in/b.png+../c.jpeg", "../in/a.png+../c.jpeg")
	})
	t.Run("lists that cannot be used", func(t *testing.T) {
		t.Parallel()
		pairs := list("fine.csv", "../in/a.png,../in/b.png\n")
		large := list("large.txt", "../in/a.png\n")
		if err := os.Truncate(large, 256<<20+1); err != nil { // sparse: it takes no room
			t.Fatal(err)
		}
		for _, c := range []struct{ data, covers, says string }{
			{list("mixed.csv", "../in/a.png\n../in/a.png,../in/b.png\n"), "", "line 2: some lines have one path"},
			{list("three.csv", "../in/a.png,../in/b.png,1\n"), "", "line 1: a line has one path, or a cover and a secret, and not 3"},
			{list("missing.csv", "cover,secret\n../in/a.png,\n"), "", "line 2: a path is missing"},
			{list("nothing.txt", "# nothing\n\n"), "", "names no files"},
			{list("empty.txt", ""), "", "empty file"},
			{list("one.txt", "../in/a.png\n"), "", "a pair needs two"},
			{list("quote.csv", "\"../in/a.png\n"), "", "quote"},
			{large, "", "larger than 256 MiB"},
			{pairs, filepath.Join(dir, "in"), "give it alone"},
			{filepath.Join(dir, "in"), pairs, "give it alone"},
			{filepath.Join(dir, "in", "none.txt"), "", "no such file"},
		} {
			if err := (producer.DatasetOptions{Data: c.data, Covers: c.covers}).Check(); !errors.Is(err, producer.ErrDataset) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want ErrDataset that says %q", filepath.Base(c.data), err, c.says)
			}
		}
	})
}

func TestSample(t *testing.T) {
	t.Parallel()
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprintf("%02d.png", i))
	}
	dir := pictures(t, all...)
	memo := testrig.Cache(t)
	sample := func(n int, seed uint64) *producer.Dataset {
		t.Helper()
		d, err := producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: dir, Sample: n, Seed: seed}, memo)
		if err != nil {
			t.Fatal(err)
		}
		if d.Candidates != 20 || !slices.IsSorted(names(d)) {
			t.Errorf("%d candidates, in the order %q", d.Candidates, names(d))
		}
		return d
	}
	// Worked out by another program from the description of draw.
	pinned := sample(4, 7)
	expectPairs(t, pinned, 8, "10.png+11.png", "22.png+23.png", "28.png+29.png", "36.png+37.png")
	if got := names(sample(4, 7)); !slices.Equal(got, names(pinned)) {
		t.Errorf("the same seed draws %q and %q", names(pinned), got)
	}
	if got := names(sample(4, 8)); slices.Equal(got, names(pinned)) {
		t.Errorf("another seed draws the same %q", got)
	}
	for _, pair := range names(pinned) {
		if !slices.Contains(names(sample(5, 7)), pair) {
			t.Errorf("%s is drawn among 4 and not among 5", pair)
		}
	}
	if got := len(sample(100, 7).Pairs); got != 20 {
		t.Errorf("%d pairs of 20", got)
	}
	// A pair that cannot be used leaves the others as they are, and the next that is drawn takes its place.
	fifth := slices.DeleteFunc(names(sample(5, 7)), func(pair string) bool { return slices.Contains(names(pinned), pair) })
	testrig.WriteFile(t, []byte("bad"), dir, pinned.Pairs[1].GetCover().GetName())
	d := sample(4, 7)
	expectBad(t, d, [2]string{pinned.Pairs[1].GetCover().GetName(), "not an image"})
	want := append(slices.Delete(names(pinned), 1, 2), fifth...)
	slices.Sort(want)
	expectPairs(t, d, 9, want...) // with the partner of the bad one
	// No more is read than is needed.
	counted := &inspections{Cache: memo}
	if _, err := producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: dir, Sample: 2, Seed: 1}, counted); err != nil || counted.asked > 6 {
		t.Errorf("%d files were read for 2 pairs (%v)", counted.asked, err)
	}
	d, err := producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: dir, Covers: covers(t, "1.png", "2.png", "3.png"), Sample: 3}, memo)
	if want := []string{"1.png+00.png", "2.png+01.png", "3.png+02.png"}; err != nil || !slices.Equal(names(d), want) {
		t.Errorf("pairs %q (%v), want %q", names(d), err, want)
	}
}

// forgetful is a memo that knows nothing.
type forgetful struct{}

func (forgetful) Inspected(_ context.Context, digests []string, _ string) ([]bool, error) {
	return make([]bool, len(digests)), nil
}
func (forgetful) RememberInspected(context.Context, []string, string) error { return nil }

// fuzzPlace reads a file as a data set: whatever its bytes are, images that are used have the bytes that they are
// said to have, and names can be sent.
func fuzzPlace(t *testing.T, name string, data []byte) {
	dir := t.TempDir()
	d, err := producer.ReadDataset(t.Context(), producer.DatasetOptions{Data: testrig.WriteFile(t, data, dir, name), Limits: pixel.Limits{MaxBytes: 1 << 16}}, forgetful{})
	if err != nil {
		if !errors.Is(err, producer.ErrDataset) {
			t.Errorf("%v is not ErrDataset", err)
		}
		return
	}
	for digest, f := range d.Files {
		whole, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if f.Offset > 0 {
			whole = whole[f.Offset : f.Offset+f.Size]
		}
		if sha(whole) != digest {
			t.Errorf("%+v has not the digest %s", f, digest)
		}
	}
	for _, p := range d.Pairs {
		if !utf8.ValidString(p.GetItem() + p.GetCover().GetName() + p.GetSecret().GetName()) {
			t.Errorf("%v cannot be sent", p)
		}
	}
	for _, bad := range d.Bad {
		if !utf8.ValidString(bad.GetName()+bad.GetReason()) || bad.GetName() == "" || bad.GetReason() == "" {
			t.Errorf("%q: %q cannot be sent", bad.GetName(), bad.GetReason())
		}
	}
}

func FuzzShard(f *testing.F) {
	m := images(f, "a.png", "b.png")
	f.Add(shard(f, m...))
	f.Add(shard(f, m[0], member{name: "\xff.png", kind: tar.TypeSymlink, link: "a.png"}, m[1])[:2000])
	f.Fuzz(func(t *testing.T, data []byte) { fuzzPlace(t, "x.tar", data) })
}

func FuzzList(f *testing.F) {
	f.Add([]byte("cover,secret\na.png,b.png\n"))
	f.Add([]byte("\ufeff# x\r\n\"a.png\"\r\n\xff\x00,\n"))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzPlace(t, "x.csv", data) })
}
