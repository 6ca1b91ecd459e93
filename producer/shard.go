package producer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// members lists the images of a tar archive in its own order, which is that of WebDataset's samples, without
// reading them: headers only, the rest is skipped. A member's name is a name for people and never a path.
//
// The reason says why the archive is not whole; the images before the damage are listed all the same.
func members(archive entry) (list []entry, reason string) {
	info, err := os.Stat(archive.file.Path)
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return nil, reasonOf(err)
	}
	f, err := os.Open(archive.file.Path)
	if err != nil {
		return nil, reasonOf(err)
	}
	defer func() { _ = f.Close() }()
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && len(list) == 0:
			return nil, "holds no image files (JPEG, PNG, WebP, TIFF or BMP)"
		case errors.Is(err, io.EOF):
			return list, ""
		case errors.Is(err, io.ErrUnexpectedEOF):
			return list, fmt.Sprintf("truncated: the archive ends in the middle of a member; images found before: %d", len(list))
		case err != nil && !errors.Is(err, tar.ErrInsecurePath): // nothing is unpacked, so no path can lead out
			return list, fmt.Sprintf("not a tar archive, or damaged (%v; is it compressed?); images found before: %d", err, len(list))
		}
		if header.Typeflag == tar.TypeDir || hiddenMember(header.Name) || !isImage(header.Name) {
			continue
		}
		// The reader takes whole blocks and nothing ahead, so that the file now stands where the member's bytes begin.
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return list, reasonOf(err)
		}
		e := entry{name: inArchive(archive.name, header.Name), file: File{Path: archive.file.Path, Offset: offset, Size: header.Size}}
		switch {
		case sparse(header):
			e.reason = "stored as a sparse file, of which the bytes do not lie in one place: pack it again without --sparse"
		case header.Typeflag != tar.TypeReg:
			e.reason = errNotRegular.Error()
		}
		list = append(list, e)
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
