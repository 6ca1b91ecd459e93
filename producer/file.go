package producer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"stegomq/internal/pixel"
)

// File is where the bytes of an image are: a whole file, or a stretch of one, as a member of a tar archive is.
type File struct {
	Path string
	// Offset and Size are the stretch in bytes. Offset 0 means the whole file: no member begins there.
	Offset, Size int64
}

// Read gives the bytes, at most limit of them (0: the default of package pixel). More are an error before
// anything is read, and so is a stretch that goes past the end of the file.
func (f File) Read(limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = pixel.DefaultMaxBytes
	}
	info, err := os.Stat(f.Path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for its other end
		return nil, errNotRegular
	}
	size := f.size(info)
	switch {
	case size > limit:
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d (--max-bytes raises it)", pixel.ErrTooManyBytes, size, limit)
	case size == 0:
		return nil, pixel.ErrEmpty
	case size > info.Size()-f.Offset:
		return nil, fmt.Errorf("%w: the archive ends %d bytes before the image does", pixel.ErrTruncated, size-(info.Size()-f.Offset))
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.NewSectionReader(file, f.Offset, size))
}

// Bytes is the size of what Read gives.
func (f File) Bytes() (int64, error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return 0, err
	}
	return f.size(info), nil
}

func (f File) size(info fs.FileInfo) int64 {
	if f.Offset == 0 {
		return info.Size()
	}
	return f.Size
}

var errNotRegular = errors.New("not a regular file")

// reasonOf is an error of the file system without the path, which messages have already.
func reasonOf(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return "unreadable: " + pe.Err.Error()
	}
	return err.Error()
}
