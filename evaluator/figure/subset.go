package figure

import (
	"encoding/binary"
	"maps"
	"slices"

	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
)

// Flags of the parts of a composite glyph (OpenType specification, table glyf).
const (
	argsAreWords = 1 << 0
	haveScale    = 1 << 3
	moreFollow   = 1 << 5
	haveXYScale  = 1 << 6
	haveMatrix   = 1 << 7
	haveHints    = 1 << 8
)

// subset makes a TrueType font of the characters of another that a figure uses, some 10 kB in place of 400. Those
// that are wanted are in ascending order. It returns those that the source has: the others are left to the reader's
// fonts. The source is one of the fonts in gonum/plot, whose soundness is taken for granted. Hints are left out: they
// serve coarse screens.
func subset(source []byte, face *opentype.Font, want []rune) (file []byte, runes []rune) {
	be, tables := binary.BigEndian, tablesOf(source)
	numbers := []uint16{0} // the source's number of each glyph; 0 is the box for what is missing
	taken := map[uint16]uint16{0: 0}
	take := func(number uint16) uint16 {
		if _, known := taken[number]; !known {
			taken[number] = uint16(len(numbers))
			numbers = append(numbers, number)
		}
		return taken[number]
	}
	var ids []uint16 // of runes
	var buf sfnt.Buffer
	for _, r := range want {
		if number, err := face.GlyphIndex(&buf, r); err == nil && number != 0 && r < 0xffff {
			runes, ids = append(runes, r), append(ids, take(uint16(number)))
		}
	}

	var glyf, loca, hmtx []byte
	metrics, wide := tables["hmtx"], int(be.Uint16(tables["hhea"][34:])) // glyphs from wide on repeat the last width
	for i := 0; i < len(numbers); i++ {                                  // grows while parts are found
		number := int(numbers[i])
		glyph, parts := outline(tables, number)
		for _, at := range parts {
			be.PutUint16(glyph[at:], take(be.Uint16(glyph[at:])))
		}
		loca = be.AppendUint32(loca, uint32(len(glyf)))
		glyf = padded(append(glyf, glyph...))
		hmtx = append(hmtx, metrics[4*min(number, wide-1):][:2]...)
		bearing := 4*number + 2
		if number >= wide {
			bearing = 4*wide + 2*(number-wide)
		}
		hmtx = append(hmtx, metrics[bearing:][:2]...)
	}
	loca = be.AppendUint32(loca, uint32(len(glyf)))

	patched := func(name string, at int, v uint16) []byte {
		table := slices.Clone(tables[name])
		be.PutUint16(table[at:], v)
		return table
	}
	count := uint16(len(numbers))
	return assemble(map[string][]byte{
		"OS/2": tables["OS/2"],
		"cmap": charMap(runes, ids),
		"glyf": glyf,
		"head": patched("head", 50, 1), // loca has long offsets
		"hhea": patched("hhea", 34, count),
		"hmtx": hmtx,
		"loca": loca,
		"maxp": patched("maxp", 4, count),
		"name": tables["name"],
		"post": patched("post", 0, 3)[:32], // version 3: without the names of glyphs
	}), runes
}

func tablesOf(font []byte) map[string][]byte {
	be := binary.BigEndian
	tables := map[string][]byte{}
	for i := range int(be.Uint16(font[4:])) {
		entry := font[12+16*i:]
		tables[string(entry[:4])] = font[be.Uint32(entry[8:]):][:be.Uint32(entry[12:])]
	}
	return tables
}

// outline returns what table glyf has of a glyph, without hints, and where in it the numbers of other glyphs stand
// that it is made of.
func outline(tables map[string][]byte, number int) (glyph []byte, parts []int) {
	be := binary.BigEndian
	loca := tables["loca"]
	from, to := 2*uint32(be.Uint16(loca[2*number:])), 2*uint32(be.Uint16(loca[2*number+2:]))
	if be.Uint16(tables["head"][50:]) != 0 {
		from, to = be.Uint32(loca[4*number:]), be.Uint32(loca[4*number+4:])
	}
	if from == to {
		return nil, nil // a space
	}
	glyph = slices.Clone(tables["glyf"][from:to])
	if contours := int(int16(be.Uint16(glyph))); contours >= 0 {
		at := 10 + 2*contours
		hints := int(be.Uint16(glyph[at:]))
		be.PutUint16(glyph[at:], 0)
		return slices.Delete(glyph, at+2, at+2+hints), nil
	}
	at := 10
	for {
		flags := be.Uint16(glyph[at:])
		be.PutUint16(glyph[at:], flags&^haveHints)
		parts = append(parts, at+2)
		at += 6
		if flags&argsAreWords != 0 {
			at += 2
		}
		switch {
		case flags&haveScale != 0:
			at += 2
		case flags&haveXYScale != 0:
			at += 4
		case flags&haveMatrix != 0:
			at += 8
		}
		if flags&moreFollow == 0 {
			return glyph[:at], parts
		}
	}
}

// charMap is a table cmap with one subtable of format 4, in which every character is a segment.
func charMap(runes []rune, ids []uint16) []byte {
	segments := len(runes) + 1 // the last is for 0xffff, which must be there
	words := append([]uint16{
		0, 1, 3, 1, 0, 12, // version, one subtable: Windows, Unicode, where it starts
		4, uint16(16 + 8*segments), 0,
	}, searchFields(2, segments)...)
	var ends, deltas []uint16
	for i, r := range runes {
		ends, deltas = append(ends, uint16(r)), append(deltas, ids[i]-uint16(r))
	}
	ends, deltas = append(ends, 0xffff), append(deltas, 1)
	words = append(append(words, ends...), 0)
	words = append(append(words, ends...), deltas...) // a segment starts where it ends
	words = append(words, make([]uint16, segments)...)
	var table []byte
	for _, w := range words {
		table = binary.BigEndian.AppendUint16(table, w)
	}
	return table
}

// searchFields are what both kinds of list in a font have for a binary search: size of an item times the largest
// power of two, its logarithm, and the rest. A list of segments also begins with its own size.
func searchFields(size, count int) []uint16 {
	power, log := 1, 0
	for 2*power <= count {
		power, log = 2*power, log+1
	}
	return []uint16{uint16(size * count), uint16(size * power), uint16(log), uint16(size * (count - power))}
}

// assemble writes tables into a file, in the order of their names.
func assemble(tables map[string][]byte) []byte {
	be := binary.BigEndian
	file := be.AppendUint16([]byte{0, 1, 0, 0}, uint16(len(tables)))
	for _, v := range searchFields(16, len(tables))[1:] {
		file = be.AppendUint16(file, v)
	}
	body, start := []byte(nil), len(file)+16*len(tables)
	adjustment := 0 // where the sum of the whole file goes
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		at := len(body)
		body = padded(append(body, tables[name]...))
		if name == "head" {
			adjustment = at + 8
			be.PutUint32(body[adjustment:], 0)
		}
		file = append(file, name...)
		file = be.AppendUint32(file, sum(body[at:]))
		file = be.AppendUint32(file, uint32(start+at))
		file = be.AppendUint32(file, uint32(len(tables[name])))
	}
	file = append(file, body...)
	be.PutUint32(file[start+adjustment:], 0xb1b0afba-sum(file))
	return file
}

func padded(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

func sum(words []byte) (total uint32) {
	for i := 0; i < len(words); i += 4 {
		total += binary.BigEndian.Uint32(words[i:])
	}
	return total
}
