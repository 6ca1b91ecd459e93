package producer

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// extensions of files that are taken for images. Those that are not served are among them, so that the
// user is told instead of finding an image missing.
var extensions = map[string]bool{
	".jpg": true, ".jpeg": true, ".png": true, ".webp": true, ".tif": true, ".tiff": true, ".bmp": true,
	".jfif": true, ".jpe": true, ".jif": true, ".pjpeg": true, ".pjp": true, ".apng": true, ".dib": true,
	".gif": true, ".avif": true, ".heic": true, ".heif": true, ".jp2": true, ".jxl": true, ".ppm": true, ".pgm": true,
}

// plain are the extensions of files that data sets have in great number beside their images. They are not opened.
var plain = map[string]bool{
	".txt": true, ".json": true, ".jsonl": true, ".xml": true, ".csv": true, ".tsv": true, ".md": true, ".html": true, ".cls": true,
	".npy": true, ".npz": true, ".mat": true, ".pt": true,
}

// packed are the names of archives that cannot be read where they lie, with what unpacks them.
var packed = []struct{ suffix, with string }{
	{".tar.gz", "gunzip"}, {".tgz", "gunzip"}, {".tar.bz2", "bunzip2"}, {".tbz2", "bunzip2"}, {".tar.xz", "unxz"}, {".txz", "unxz"},
	{".tar.zst", "unzstd"}, {".zip", "unzip"}, {".7z", "7z x"}, {".rar", "unrar x"},
}

// extension is that of a name, in lower case, without the spaces that some programs leave after it.
func extension(name string) string { return strings.ToLower(filepath.Ext(strings.TrimSpace(name))) }

func isImage(name string) bool { return extensions[extension(name)] }

func isShard(name string) bool { return extension(name) == ".tar" }

// kept are folders in which systems keep thumbnails, resource forks and what was deleted.
var kept = []string{"@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN"}

// isHidden says whether a file or folder is left out, and not named.
func isHidden(name string) bool { return strings.HasPrefix(name, ".") || slices.Contains(kept, name) }

// disguise says by its first bytes what to do with a file that is not named like an image. An image without an extension is read. An image with
// another extension is left out with a reason: it may be a copy, or half of one. Both results are empty for a file that is no image.
func disguise(name string, head []byte) (image bool, reason string) {
	format, ok := pixel.Recognise(head)
	switch ext := strings.TrimSpace(filepath.Ext(name)); {
	case !ok:
		return false, ""
	case ext == "" || ext == ".":
		return true, ""
	default:
		return false, fmt.Sprintf("left out: a %s by its content, but not by its name (%q); rename it", format, ext)
	}
}

// unpack says why an archive cannot be read and what to do; nothing for other files.
func unpack(name string) (reason string, ok bool) {
	for _, p := range packed {
		if strings.HasSuffix(strings.ToLower(name), p.suffix) {
			return fmt.Sprintf("a compressed archive, of which no part can be read by itself: unpack it first (%s)", p.with), true
		}
	}
	return "", false
}

// label is a name as it can be shown and sent: names in archives and lists may have any bytes.
func label(name string) string {
	return strings.Map(func(r rune) rune { // which also replaces what is no UTF-8
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, filepath.ToSlash(name))
}

// entry is an image by its name, not read yet.
type entry struct {
	name string
	file File
	// reason says why it cannot be used where that is known already.
	reason string
}

// listing is what a place holds, by names.
type listing struct {
	entries []entry
	// paired listings name a cover and its secret in turn.
	paired bool
	// shards are tar archives whose members are not entries yet.
	shards []entry
	// bad are archives that cannot be read.
	bad []*schemas.BadImage
}

// list finds out which layout a place has: a folder of images, at any depth; a folder of tar archives, if it holds
// no images; one tar archive; or a list. A place with none of these is an error.
func list(place string) (*listing, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	switch ext := extension(place); {
	case info.IsDir():
		return listFolder(place)
	case ext == ".txt" || ext == ".csv":
		return listFile(place)
	case isShard(place):
		return &listing{shards: []entry{{name: filepath.Base(place), file: File{Path: place}}}}, nil
	}
	if reason, ok := unpack(place); ok {
		return nil, fmt.Errorf("%w: %s is %s", ErrDataset, place, reason)
	}
	return nil, fmt.Errorf("%w: %s is not a folder, nor a tar archive (.tar) or a list (.txt, .csv) by its name", ErrDataset, place)
}

// expand lists the members of the shards. A shard that cannot be read is named in bad, and is no error.
func (l *listing) expand() {
	for _, s := range l.shards {
		images, bad := members(s)
		l.entries = append(l.entries, images...)
		l.bad = append(l.bad, bad...)
	}
	l.shards = nil
}

func listFolder(dir string) (*listing, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	w := &walk{dir: dir, root: root, seen: make(map[string]bool)}
	if err := w.folder(root, ""); err != nil {
		return nil, fmt.Errorf("%w: list %s: %w", ErrDataset, dir, err)
	}
	l := &listing{entries: w.images, bad: w.bad}
	if len(w.images) > 0 {
		return l, nil
	}
	for _, a := range w.archives {
		if reason, ok := unpack(a.name); ok {
			l.bad = append(l.bad, &schemas.BadImage{Name: label(a.name), Reason: reason})
		} else {
			l.shards = append(l.shards, a)
		}
	}
	if len(l.shards) > 0 {
		return l, nil
	}
	for _, bad := range l.bad {
		return nil, fmt.Errorf("%w: %s holds no image files; %s: %s", ErrDataset, dir, bad.GetName(), bad.GetReason())
	}
	return nil, fmt.Errorf("%w: %s holds no image files (JPEG, PNG, WebP, TIFF or BMP) and no tar archives of them", ErrDataset, dir)
}

// walk lists a folder and its subfolders in the order of names. Hidden files and folders are left out. A link to a folder is followed,
// unless the folder lies in the root or holds it. Every folder is listed once, so that no link leads round in circles.
type walk struct {
	dir, root string          // as given, and the absolute path that it really has
	seen      map[string]bool // real paths
	images    []entry
	archives  []entry
	bad       []*schemas.BadImage // images by their content that are not read
}

// folder lists the folder that really is at real, and rel below the root by its name.
func (w *walk) folder(real, rel string) error {
	if w.seen[real] {
		return nil
	}
	w.seen[real] = true
	found, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	for _, e := range found {
		name := e.Name()
		if isHidden(name) {
			continue
		}
		below := filepath.Join(rel, name)
		at := entry{name: below, file: File{Path: filepath.Join(w.dir, below)}}
		_, compressed := unpack(name)
		switch {
		case e.IsDir():
			err = w.folder(filepath.Join(real, name), below)
		case isImage(name):
			w.images = append(w.images, at)
		case isShard(name) || compressed:
			w.archives = append(w.archives, at)
		case e.Type()&fs.ModeSymlink != 0 && isFolder(filepath.Join(real, name)):
			err = w.link(filepath.Join(real, name), below)
		case !plain[extension(name)]:
			w.file(at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file looks into a file that is not named like an image. One that cannot be opened, or is no regular file, is no image.
func (w *walk) file(at entry) {
	info, err := os.Stat(at.file.Path)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	f, err := os.Open(at.file.Path)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, pixel.HeadBytes)
	n, _ := io.ReadFull(f, head)
	image, reason := disguise(at.name, head[:n])
	if image {
		w.images = append(w.images, at)
	} else if reason != "" {
		w.bad = append(w.bad, &schemas.BadImage{Name: label(at.name), Reason: reason})
	}
}

// link follows a symbolic link to a folder.
func (w *walk) link(name, rel string) error {
	target, err := filepath.EvalSymlinks(name)
	if err == nil && !within(w.root, target) && !within(target, w.root) {
		return w.folder(target, rel)
	}
	return nil
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// within says whether a folder is another or lies in it, both by their real paths.
func within(folder, name string) bool {
	rel, err := filepath.Rel(folder, name)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// inArchive is the name of a member behind that of its archive.
func inArchive(archive, member string) string {
	return archive + "/" + cmp.Or(strings.TrimPrefix(path.Clean("/"+member), "/"), "?")
}

// hiddenMember says whether any part of a member's name is hidden.
func hiddenMember(name string) bool {
	return slices.ContainsFunc(strings.Split(path.Clean("/"+name), "/"), isHidden)
}
