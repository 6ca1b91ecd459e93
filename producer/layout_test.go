package producer_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
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
	dir, elsewhere := pictures(t, "a.png", "sub/b.png", "z.png"), pictures(t, "x.txt", "y.txt", "1.png", "deep/2.png", "deep/.hidden/3.png")
	for name, target := range map[string]string{
		"linked": elsewhere, "zz-again": elsewhere, "part": filepath.Join(elsewhere, "deep"), // of what linked leads to
		"aa-inside": filepath.Join(dir, "sub"), "self": dir, "sub/up": dir, "root": "/", "above": filepath.Dir(dir),
		".hidden": elsewhere, "nowhere": filepath.Join(dir, "nothing"), "notes.txt": filepath.Join(elsewhere, "x.txt"),
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

// Files that hold images under other names are read or named, and what systems keep beside images is left out.
func TestDisguisedImages(t *testing.T) {
	t.Parallel()
	read := []string{"a.jfif", "b.jpe", "c.pjpeg", "d.dib", "e.apng", "f.JPG ", "noextension", "sub/another"}
	named := []string{"g.jpg~", "h.png.bak", "i.part"}
	hidden := []string{"@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/x.jpg", "sub/__MACOSX/x", ".thumbnails/x.png", "#recycle/x.png", "$RECYCLE.BIN/x.png", "._a.jpg"}
	files := slices.Concat(read, named, hidden)
	dir := pictures(t, files...)
	others := map[string]string{
		"Thumbs.db": "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "README": "text of no picture", "BMW": "BM is how this text begins, which is no BMP", "empty": "", "x.txt": "BM",
		"tiny": "\xff\xd8",
	}
	for name, text := range others {
		testrig.WriteFile(t, []byte(text), dir, name)
	}
	if err := os.Symlink(filepath.Join(dir, "noextension"), filepath.Join(dir, "z-link")); err != nil {
		t.Fatal(err)
	}
	left := [][2]string{{"g.jpg~", "left out: a PNG by its content, but not by its name (\".jpg~\"); rename it"}, {"h.png.bak", "left out: a PNG"}, {"i.part", "left out: a PNG"}}
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: dir})
		expectPairs(t, d, 9, "a.jfif+b.jpe", "c.pjpeg+d.dib", "e.apng+f.JPG ", "noextension+sub/another")
		expectBad(t, d, left...)
	})
	t.Run("archive", func(t *testing.T) {
		t.Parallel()
		var all []member
		for _, name := range files {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, member{name: name, data: data})
		}
		for name, text := range others {
			all = append(all, member{name: name, data: []byte(text)})
		}
		all = append(all, member{name: "z-link", kind: tar.TypeSymlink, link: "noextension"})
		d := readDataset(t, producer.DatasetOptions{Data: testrig.WriteFile(t, shard(t, all...), t.TempDir(), "x.tar")})
		expectPairs(t, d, 8, "x.tar/a.jfif+x.tar/b.jpe", "x.tar/c.pjpeg+x.tar/d.dib", "x.tar/e.apng+x.tar/f.JPG ", "x.tar/noextension+x.tar/sub/another")
		var behind [][2]string
		for _, l := range left {
			behind = append(behind, [2]string{"x.tar/" + l[0], l[1]})
		}
		expectBad(t, d, behind...)
	})
	t.Run("nothing else", func(t *testing.T) {
		t.Parallel()
		if err := (producer.DatasetOptions{Data: pictures(t, "a.jpg~")}).Check(); !errors.Is(err, producer.ErrDataset) || !strings.Contains(err.Error(), "a.jpg~: left out") {
			t.Errorf("%v does not name what is there", err)
		}
	})
}

// Archives that were joined, as cat does it, are read as one, and what is no archive behind one is named.
func TestJoinedShards(t *testing.T) {
	t.Parallel()
	m := images(t, "a.png", "b.png", "c.png", "d.png", "e.png", "f.png")
	record := func(data []byte) []byte { return append(data, make([]byte, 10240-len(data)%10240)...) } // as GNU tar ends
	joined := slices.Concat(record(shard(t, m[0], m[1])), shard(t, m[2]), shard(t), make([]byte, 200<<10), shard(t, m[3:]...))
	place := testrig.WriteFile(t, joined, t.TempDir(), "all.tar")
	d := readDataset(t, producer.DatasetOptions{Data: place})
	expectPairs(t, d, 6, "all.tar/a.png+all.tar/b.png", "all.tar/c.png+all.tar/d.png", "all.tar/e.png+all.tar/f.png")
	expectBad(t, d)
	for _, behind := range [][]byte{[]byte("not an archive"), bytes.Repeat([]byte("no archive either, and longer "), 100), shard(t, m[4])[:700]} {
		d := readDataset(t, producer.DatasetOptions{Data: testrig.WriteFile(t, slices.Concat(record(shard(t, m[:4]...)), behind), t.TempDir(), "x.tar")})
		if len(d.Pairs) != 2 || len(d.Bad) == 0 || d.Bad[0].GetName() != "x.tar" || !strings.Contains(d.Bad[0].GetReason(), "images found before: ") {
			t.Errorf("%.20q behind the archive: %d pairs, bad %v", behind, len(d.Pairs), d.Bad)
		}
	}
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
	absolute := filepath.Join(pictures(t, "x.txt", "y.txt", "z.txt", "u.txt", "v.txt", "far.png"), "far.png")
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

// The lists of testdata were read wrongly once.
func TestListCases(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"labels.csv":       {"img/0.png+img/1.png"},
		"header_other.csv": {"img/0.png+img/1.png"},
		"hash.txt":         {"img/0.png+#top.png", "img/1.png+img/2.png"},
		"bomcrlf.csv":      {"img/0.png+img/1.png", "img/2.png+img/3.png"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := readDataset(t, producer.DatasetOptions{Data: filepath.Join("testdata", "lists", name)})
			if got := names(d); !slices.Equal(got, want) || len(d.Bad) > 0 {
				t.Errorf("pairs %q and bad files %v, want %q", got, d.Bad, want)
			}
		})
	}
}

// utf16Of is text as Windows saves it, with a mark.
func utf16Of(text string, order binary.AppendByteOrder) []byte {
	var data []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		data = order.AppendUint16(data, unit)
	}
	return data
}

func TestListForms(t *testing.T) {
	t.Parallel()
	dir := pictures(t, "in/a.png", "in/b.png", "in/c.png", "in/ü.png", "#d.png", "# e, f.png", "in/noextension", "cover/x.png", "image/x.png")
	list := func(t *testing.T, data []byte) string {
		return testrig.WriteFile(t, data, dir, strings.ReplaceAll(t.Name(), "/", "_")+".csv")
	}
	for name, c := range map[string]struct {
		data  []byte
		pairs []string
	}{
		"labels of every kind":     {[]byte("ID,File Name,Class\n7,in/a.png,cat\n8,in/b.png,\n"), []string{"in/a.png+in/b.png"}},
		"the secret first":         {[]byte("secret_path,cover_path,label\nin/a.png,in/b.png,1\n"), []string{"in/b.png+in/a.png"}},
		"covers and other images":  {[]byte("image,cover,secret\nx,in/a.png,in/b.png\n"), []string{"in/a.png+in/b.png"}},
		"a heading and a folder":   {[]byte("image\nin/a.png\nin/b.png\n"), []string{"in/a.png+in/b.png"}},
		"no extension":             {[]byte("in/noextension\nin/a.png\n"), []string{"in/noextension+in/a.png"}},
		"UTF-16":                   {utf16Of("cover,secret\r\nin/ü.png,in/b.png\r\n", binary.LittleEndian), []string{"in/ü.png+in/b.png"}},
		"UTF-16 of big endian":     {utf16Of("in/ü.png\nin/b.png\n", binary.BigEndian), []string{"in/ü.png+in/b.png"}},
		"remarks and paths with #": {[]byte("# d.png\n  #d.png\n#in/a.png\n\"# e, f.png\"\n# e, f.png\n# \"quoted\n#,\"quoted\nin/a.png\nin/b.png\n"), []string{"#d.png+# e, f.png", "in/a.png+in/b.png"}},
		"pairs with #":             {[]byte("#d.png,in/a.png\n#none.png,in/a.png\n"), []string{"#d.png+in/a.png"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := readDataset(t, producer.DatasetOptions{Data: list(t, c.data)})
			if got := names(d); !slices.Equal(got, c.pairs) || len(d.Bad) > 0 {
				t.Errorf("pairs %q and bad files %v, want %q", got, d.Bad, c.pairs)
			}
		})
	}
	for name, c := range map[string]struct{ data, says string }{
		"labels without a heading":     {"in/a.png,cat\nin/b.png,dog\n", `line 1: "cat" is not a file, nor named like an image: if it is a label, begin the list with the heading path,label`},
		"labels further on":            {"\nin/a.png,in/b.png\nin/a.png,7\n", `line 3: "7" is not a file`},
		"a heading of other words":     {"left,right\nin/a.png,in/b.png\n", `line 1: "left,right" are neither files nor a heading: call the columns cover and secret, or path`},
		"two columns of images":        {"image,image_path\nin/a.png,in/b.png\n", "line 1:"},
		"labels behind a space":        {"# of ImageNet\nin/a.png 65\nin/b.png 970\n", `line 2: "in/a.png 65" are neither files`},
		"three columns":                {"in/a.png,in/b.png,7\n", "line 1: a line has one path, or a cover and a secret, and not 3: say in a heading"},
		"UTF-16 without its mark":      {"i\x00n\x00\n\x00", "line 1: this is no text in UTF-8; if it is UTF-16, save the list as UTF-8"},
		"a byte that is no text":       {"in/a.png\nin/b.png\nin\x00\n", "line 3: this is no text"},
		"UTF-16 that was cut":          {"\xff\xfei\x00n", "ends in the middle of a character"},
		"a heading alone":              {"cover,secret\n", "names no files"},
		"a heading with a row missing": {"path,label\nin/a.png,1\nin/b.png\n", "line 3: some lines have one path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (producer.DatasetOptions{Data: list(t, []byte(c.data))}).Check()
			if !errors.Is(err, producer.ErrDataset) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want ErrDataset that says %q", err, c.says)
			}
		})
	}
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
	f.Add(slices.Concat(shard(f, m[0]), make([]byte, 1024), shard(f, member{name: "c", data: m[1].data}, member{name: "d.png~", data: m[1].data})))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzPlace(t, "x.tar", data) })
}

func FuzzList(f *testing.F) {
	f.Add([]byte("cover,secret\na.png,b.png\n"))
	f.Add([]byte("path,label\na.png,1\n#a.png,\"\n"))
	f.Add(utf16Of("cover,secret\na.png,b.png\n", binary.LittleEndian))
	f.Add([]byte("\ufeff# x\r\n\"a.png\"\r\n\xff\x00,\n"))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzPlace(t, "x.csv", data) })
}
