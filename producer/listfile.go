package producer

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"stegomq/internal/pixel"
)

// maxList bounds a list file, in bytes: some two million paths.
const maxList = 256 << 20

// listFile reads a list: on each line the path of an image, or those of a cover and its secret behind a comma,
// relative to the folder of the list or absolute. The form is CSV, so that a path with a comma stands in quotes. A
// line that begins with # is a remark, unless it names a file. The first line may be a heading: it says which columns hold the
// paths, and others are left out. The text is UTF-8, or UTF-16 with its mark. The order is that of the lines.
func listFile(name string) (*listing, error) {
	data, err := File{Path: name}.Read(maxList)
	if errors.Is(err, pixel.ErrTooManyBytes) {
		return nil, fmt.Errorf("%w: the list %s is larger than %d MiB: split it", ErrDataset, name, maxList>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read the list %s: %s", ErrDataset, name, reasonOf(err))
	}
	p := listParser{name: name, listing: &listing{}}
	if data, err = p.text(data); err != nil {
		return nil, err
	}
	r := newListReader(p.withoutRemarks(data))
	for first := true; ; first = false {
		record, err := r.Read()
		var parse *csv.ParseError
		switch {
		case errors.Is(err, io.EOF) && len(p.listing.entries) == 0:
			return nil, fmt.Errorf("%w: the list %s names no files", ErrDataset, name)
		case errors.Is(err, io.EOF):
			return p.listing, nil
		case errors.Is(err, csv.ErrFieldCount) && errors.As(err, &parse):
			return nil, p.wrong(parse.Line, "some lines have one path and others two (a path with a comma in it stands in quotes)")
		case err != nil:
			return nil, fmt.Errorf("%w: the list %s: %w", ErrDataset, name, err)
		}
		line, _ := r.FieldPos(0)
		for i := range record {
			record[i] = strings.TrimSpace(record[i])
		}
		if err := p.record(line, record, first); err != nil {
			return nil, err
		}
	}
}

func newListReader(data []byte) *csv.Reader {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace, r.LazyQuotes, r.ReuseRecord = true, true, true
	return r
}

// listParser makes a listing of the lines of a list.
type listParser struct {
	name    string
	listing *listing
	// columns are those that hold paths: of images, or of covers and of their secrets. nil before they are known.
	columns []int
	titled  bool // by a heading
}

func (p *listParser) wrong(line int, what string) error {
	return fmt.Errorf("%w: the list %s, line %d: %s", ErrDataset, p.name, line, what)
}

// text gives a list as UTF-8.
func (p *listParser) text(data []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		if at := bytes.IndexByte(data, 0); at >= 0 {
			return nil, p.wrong(1+bytes.Count(data[:at], []byte("\n")), "this is no text in UTF-8; if it is UTF-16, save the list as UTF-8")
		}
		return bytes.TrimPrefix(data, []byte("\ufeff")), nil
	}
	if len(data)%2 != 0 {
		return nil, fmt.Errorf("%w: the list %s is UTF-16 and ends in the middle of a character: save it as UTF-8", ErrDataset, p.name)
	}
	units := make([]uint16, len(data)/2-1)
	for i := range units {
		units[i] = order.Uint16(data[2*i+2:])
	}
	return []byte(string(utf16.Decode(units))), nil
}

// withoutRemarks empties the lines that begin with #, except those whose first field is the path of a file.
func (p *listParser) withoutRemarks(data []byte) []byte {
	if !bytes.Contains(data, []byte("#")) {
		return data
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i, line := range lines {
		if !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
			continue
		}
		if record, err := newListReader(line).Read(); err != nil || !isFile(p.path(strings.TrimSpace(record[0]))) {
			lines[i] = []byte("\n")
		}
	}
	return bytes.Join(lines, nil)
}

// path is where a file of the list is.
func (p *listParser) path(field string) string {
	at := filepath.FromSlash(field)
	if !filepath.IsAbs(at) {
		at = filepath.Join(filepath.Dir(p.name), at)
	}
	return at
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// record takes one line.
func (p *listParser) record(line int, record []string, first bool) error {
	if first && !slices.ContainsFunc(record, func(field string) bool { return isImage(field) || isFile(p.path(field)) }) {
		var ok bool
		if p.columns, ok = columnsOf(record); !ok {
			return p.wrong(line, fmt.Sprintf("%q are neither files nor a heading: call the columns cover and secret, or path "+
				"(others are left out); paths are relative to the list, with a comma between two", strings.Join(record, ",")))
		}
		p.titled = true
		p.listing.paired = len(p.columns) == 2
		return nil
	}
	if p.columns == nil {
		if len(record) > 2 {
			return p.wrong(line, fmt.Sprintf("a line has one path, or a cover and a secret, and not %d: "+
				"say in a heading which columns they are (cover and secret, or path)", len(record)))
		}
		p.columns = []int{0, 1}[:len(record)]
		p.listing.paired = len(record) == 2
	}
	for _, column := range p.columns {
		field := record[column]
		if field == "" {
			return p.wrong(line, "a path is missing")
		}
		if p.listing.paired && !p.titled && !p.names(field) {
			return p.wrong(line, fmt.Sprintf("%q is not a file, nor named like an image: if it is a label, "+
				"begin the list with the heading path,label", field))
		}
		p.listing.entries = append(p.listing.entries, entry{name: field, file: File{Path: p.path(field)}})
	}
	return nil
}

// names says whether a field can be the path of an image: something is there, or it is named like one.
func (p *listParser) names(field string) bool {
	if isImage(field) {
		return true
	}
	_, err := os.Stat(p.path(field))
	return field != "" && err == nil
}

// imageWords are what columns of paths are called.
var imageWords = []string{
	"path", "paths", "file", "files", "filename", "filenames", "filepath", "image", "images", "imagefile", "imagefilename", "imagename", "imagepath",
	"img", "imgname", "imgpath", "photo", "photograph", "picture",
}

// columnsOf finds the columns of paths in a heading: that of the covers and that of the secrets, or that of the images.
func columnsOf(heading []string) (columns []int, ok bool) {
	var covers, secrets, images []int
	for i, word := range heading {
		word = strings.Map(func(r rune) rune {
			if r == ' ' || r == '_' || r == '-' {
				return -1
			}
			return r
		}, strings.ToLower(word))
		switch {
		case strings.HasPrefix(word, "cover"):
			covers = append(covers, i)
		case strings.HasPrefix(word, "secret"):
			secrets = append(secrets, i)
		case slices.Contains(imageWords, word):
			images = append(images, i)
		}
	}
	switch {
	case len(covers) == 1 && len(secrets) == 1:
		return []int{covers[0], secrets[0]}, true
	case len(covers) == 0 && len(secrets) == 0 && len(images) == 1:
		return images, true
	}
	return nil, false
}
