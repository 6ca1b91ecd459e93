package producer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// members lists the images of a tar archive in its own order, which is that of WebDataset's samples, without
// reading them: headers only, the rest is skipped. A member's name is a name for people and never a path. Archives that were joined are
// read one after another.
//
// bad names the archive with the reason if it is not whole, the images before the damage are listed all the same; and images that are
// left out for their names.
func members(archive entry) (list []entry, bad []*schemas.BadImage) {
	a := tarball{name: archive.name, path: archive.file.Path}
	if reason := a.readAll(); reason != "" {
		a.bad = append(a.bad, &schemas.BadImage{Name: label(archive.name), Reason: reason})
	}
	return a.images, a.bad
}

// tarball is an open archive and what was found in it.
type tarball struct {
	name, path string
	file       *os.File
	images     []entry
	bad        []*schemas.BadImage
}

// readAll lists the images of the archive and of those behind it, or says why there are none.
func (a *tarball) readAll() (reason string) {
	info, err := os.Stat(a.path)
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return reasonOf(err)
	}
	if a.file, err = os.Open(a.path); err != nil {
		return reasonOf(err)
	}
	defer func() { _ = a.file.Close() }()
	for more := true; more; {
		if reason := a.read(); reason != "" {
			return reason
		}
		if more, err = a.next(); err != nil {
			return reasonOf(err)
		}
	}
	if len(a.images) == 0 {
		return "holds no image files (JPEG, PNG, WebP, TIFF or BMP)"
	}
	return ""
}

// read lists the images up to the end of the archive, or says why there is none.
func (a *tarball) read() (reason string) {
	for r := tar.NewReader(a.file); ; {
		header, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return ""
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Sprintf("truncated: the archive ends in the middle of a member; images found before: %d", len(a.images))
		case err != nil && !errors.Is(err, tar.ErrInsecurePath): // nothing is unpacked, so no path can lead out
			return fmt.Sprintf("not a tar archive, or damaged (%v; is it compressed?); images found before: %d", err, len(a.images))
		}
		if header.Typeflag == tar.TypeDir || hiddenMember(header.Name) {
			continue
		}
		// The reader takes whole blocks and nothing ahead, so that the file now stands where the member's bytes begin.
		offset, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return reasonOf(err)
		}
		e := entry{name: inArchive(a.name, header.Name), file: File{Path: a.path, Offset: offset, Size: header.Size}}
		switch {
		case !isImage(header.Name):
			if plain[extension(header.Name)] || header.Typeflag != tar.TypeReg {
				continue
			}
			head := make([]byte, pixel.HeadBytes)
			n, _ := io.ReadFull(r, head)
			image, reason := disguise(header.Name, head[:n])
			if reason != "" {
				a.bad = append(a.bad, &schemas.BadImage{Name: label(e.name), Reason: reason})
			}
			if !image {
				continue
			}
		case sparse(header):
			e.reason = "stored as a sparse file, of which the bytes do not lie in one place: pack it again without --sparse"
		case header.Typeflag != tar.TypeReg:
			e.reason = errNotRegular.Error()
		}
		a.images = append(a.images, e)
	}
}

// next finds the archive that begins behind the end of this one, if one was joined to it, past the zeros that fill its last record.
func (a *tarball) next() (more bool, err error) {
	at, err := a.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return false, err
	}
	const block = 512
	chunk := make([]byte, 128*block)
	for {
		n, err := io.ReadFull(a.file, chunk)
		if zeros := n - len(bytes.TrimLeft(chunk[:n], "\x00")); zeros < n {
			_, err := a.file.Seek(at+int64(zeros/block*block), io.SeekStart)
			return true, err
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return false, nil
		case err != nil:
			return false, err
		}
	}
}

// sparse says whether a member was written without its holes.
func sparse(header *tar.Header) bool {
	for record := range header.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return true
		}
	}
	return header.Typeflag == tar.TypeGNUSparse
}
