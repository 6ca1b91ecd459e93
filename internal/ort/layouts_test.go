package ort

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
)

// recovered starts an engine as a new process would, and recovers an image. It says whether the layout was kept, and how often it warned.
func recovered(t *testing.T, dir string, in []pixel.Tensor) (out pixel.Tensor, kept bool, warnings int) {
	t.Helper()
	log := newJournal(t, true)
	e := start(t, Config{Layouts: dir, Logger: slog.New(log)})
	m := tiny(t)
	add(t, e, m)
	out = mustRun(t, e, m, model.OpRecover, testKey(model.OpRecover, 1), in)
	want := reference(t, e, m, model.OpRecover, testKey(model.OpRecover, 1), in)
	if !slices.Equal(out.Data, want.Data) {
		t.Error("the output differs from that of constant weights")
	}
	graphs := opened(e)
	if len(graphs) != 1 || !graphs[0].layout.native {
		t.Fatalf("%d graphs are open", len(graphs))
	}
	return out, graphs[0].kept, log.warnings
}

// TestLayoutsAreKept: the second start takes what the first one found out, and a file that is damaged, or of another network or host, is made
// anew, with the same outputs.
func TestLayoutsAreKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "here")
	in := images(t, model.OpRecover, 1, 33, 47)
	want := func(name string, kept bool, warnings int) {
		t.Helper()
		if _, got, warned := recovered(t, dir, in); got != kept || warned != warnings {
			t.Errorf("%s: kept %v with %d warnings, want %v with %d", name, got, warned, kept, warnings)
		}
	}
	want("the first start", false, 0)
	want("the second", true, 0)

	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q %v", files, err)
	}
	whole := read(t, files[0])
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	write(t, files[0], damaged)
	want("a damaged file", false, 0)
	want("after it was made anew", true, 0)
	write(t, files[0], whole[:20])
	want("half a file", false, 0)

	// A whole file that says something else of this network: the trial finds it.
	kept := layouts{log: slog.New(slog.DiscardHandler)}.read(files[0])
	kept.Trial.Image[7] += 1e-6
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(kept); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body.Bytes())
	write(t, files[0], append(sum[:], body.Bytes()...))
	want("another outcome", false, 1)
	want("after that was made anew", true, 0)
	for name, spoil := range map[string]func(*keptLayout){
		"no graph":                       func(k *keptLayout) { k.Graph = k.Graph[:len(k.Graph)/2] },
		"a weight of another layer":      func(k *keptLayout) { k.Forms[0].From[2] = 255 },
		"half a table":                   func(k *keptLayout) { k.Forms[0].From = k.Forms[0].From[:4] },
		"no table where one is needed":   func(k *keptLayout) { k.Forms[0].From, k.Forms[0].Dims[0] = nil, 2*k.Forms[0].Dims[0] },
		"a layer that the model has not": func(k *keptLayout) { k.Forms[0].Layer.Offset++ },
		"two weights exchanged": func(k *keptLayout) {
			from := k.Forms[0].From
			for i := range 4 {
				from[i], from[4+i] = from[4+i], from[i]
			}
		},
	} {
		kept := layouts{log: slog.New(slog.DiscardHandler)}.read(files[0])
		if len(kept.Forms[0].From) == 0 {
			t.Fatal("the first layer is in its own layout: nothing to spoil")
		}
		spoil(kept)
		body.Reset()
		if err := gob.NewEncoder(&body).Encode(kept); err != nil {
			t.Fatal(err)
		}
		sum = sha256.Sum256(body.Bytes())
		write(t, files[0], append(sum[:], body.Bytes()...))
		want(name, false, 1)
		want("after "+name, true, 0)
	}

	// Where nothing can be written the network runs all the same.
	blocked := filepath.Join(t.TempDir(), "file")
	write(t, blocked, nil)
	if _, got, _ := recovered(t, blocked, in); got {
		t.Error("a layout was kept where there is no folder")
	}
}

func TestLayoutNames(t *testing.T) {
	t.Parallel()
	m := tiny(t)
	name := func(l layouts, m *model.Model, op model.Operation) string {
		g, err := parse(outputsOf(op, m, false), m, m.Graph(op))
		if err != nil {
			t.Fatal(err)
		}
		return l.name(m, g)
	}
	here := layouts{dir: "d", host: "a"}
	other := *m
	other.Digest = "other"
	names := map[string]bool{
		name(here, m, model.OpRecover): true, name(here, m, model.OpEmbed): true, name(here, &other, model.OpRecover): true,
		name(layouts{dir: "d", host: "b"}, m, model.OpRecover): true,
	}
	if len(names) != 4 {
		t.Errorf("models, operations and hosts share files: %v", names)
	}
	if name(layouts{host: "a"}, m, model.OpRecover) != "" {
		t.Error("there is a file without a folder")
	}
}

func TestOldLayoutsGo(t *testing.T) {
	t.Parallel()
	l := layouts{dir: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	for i := range maxLayouts + 3 {
		l.keep(filepath.Join(l.dir, fmt.Sprintf("%d.layout", i)), keptLayout{Graph: []byte{1}})
	}
	files, err := os.ReadDir(l.dir)
	if err != nil || len(files) != maxLayouts {
		t.Errorf("%d files are left (%v), want %d", len(files), err, maxLayouts)
	}
	if kept := l.read(filepath.Join(l.dir, fmt.Sprintf("%d.layout", maxLayouts+2))); kept == nil {
		t.Error("the newest is gone")
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
