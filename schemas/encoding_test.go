package schemas

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

// TestGolden pins the encoding of each type of message: what an older or a newer stegomq, or a client in
// another language, has sent must still read the same.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", k.name+".binpb")
			encoded, err := Encode(k.sample())
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, encoded, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(encoded, golden) {
				t.Errorf("the encoding has changed:\n got %x\nwant %x\n-update rewrites it; that changes the protocol", encoded, golden)
			}
			decoded, err := k.decode(golden)
			if err != nil {
				t.Fatal(err)
			}
			sameMessage(t, "decoded", decoded, k.sample())
		})
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	done := make(map[string]bool)
	for _, k := range kinds() {
		name := string(k.sample().ProtoReflect().Descriptor().Name())
		if done[name] {
			continue
		}
		done[name] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				m := k.random.Draw(t, "message")
				data, err := Encode(m)
				if err != nil {
					t.Fatalf("the generator drew an invalid message: %v", err)
				}
				back, err := k.decode(data)
				if err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(back, m) {
					t.Fatalf("\n got %v\nwant %v", back, m)
				}
				again, err := Encode(back)
				if err != nil || !bytes.Equal(again, data) {
					t.Fatalf("encoded again it has other bytes (%v)", err)
				}
			})
		})
	}
}

func TestEncodeRefusesWhatIsInvalid(t *testing.T) {
	t.Parallel()
	j := testEmbed()
	j.Run = ""
	if data, err := Encode(j); !errors.Is(err, ErrInvalid) || data != nil {
		t.Errorf("encoded %d bytes, %v; want ErrInvalid", len(data), err)
	}
}

// unknownField is field 1000 with the value 1.
var unknownField = protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)

func addUnknown(m proto.Message) { m.ProtoReflect().SetUnknown(unknownField) }

func TestDecodeIsStrict(t *testing.T) {
	t.Parallel()
	with := func(m message, change ...proto.Message) message {
		for _, c := range change {
			addUnknown(c)
		}
		return m
	}
	j, r, s, f := testEmbed(), testResult(), testSpec(), testFailedScore()
	nested, deep, failed := testRecover(), testEmbed(), testResult()
	sc, l, refused := testScore(), testLetter(), testRefusedResult()
	for name, c := range map[string]struct {
		m      message
		decode func([]byte) (message, error)
	}{
		"job":                  {with(j, j), decoder(DecodeJob)},
		"key of a job":         {with(nested, nested.GetEmbedKey()), decoder(DecodeJob)},
		"reference of an item": {with(deep, deep.GetItems()[1].GetSecret()), decoder(DecodeJob)},
		"output of a result":   {with(r, r.GetOutcomes()[0].GetOutput()), decoder(DecodeResult)},
		"job inside a result":  {with(failed, failed.GetJob().GetGeometry()), decoder(DecodeResult)},
		"bad image of a run":   {with(s, s.GetBad()[0]), decoder(DecodeRunSpec)},
		"failure of a score":   {with(f, f.GetFailure()), decoder(DecodeScore)},
		"metrics of a score":   {with(sc, sc.GetMetrics()), decoder(DecodeScore)},
		"refusal of a result":  {with(refused, refused.GetOutcomes()[1].GetRefusal()), decoder(DecodeResult)},
		"dead letter":          {with(l, l), decoder(DecodeDeadLetter)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := proto.Marshal(c.m)
			if err != nil {
				t.Fatal(err)
			}
			m, err := c.decode(data)
			if !errors.Is(err, ErrInvalid) || m != nil {
				t.Fatalf("decoded %v, %v; want ErrInvalid", m, err)
			}
			if want := "3 bytes of unknown fields"; !strings.Contains(err.Error(), want) {
				t.Errorf("the error %q does not say %q", err, want)
			}
		})
	}
}

func TestDecodeOfGarbage(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			whole, err := Encode(k.sample())
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range [][]byte{nil, {0xff}, []byte("hello"), bytes.Repeat([]byte{0x0a}, 100), bytes.Repeat([]byte{0xff}, 100)} {
				if m, err := k.decode(data); !errors.Is(err, ErrInvalid) {
					t.Errorf("%x decoded to %v, %v", data, m, err)
				}
			}
			// Cut between two fields, a message may still be one: Protobuf knows no end. It is then another
			// message, never the whole one.
			for n := range whole {
				m, err := k.decode(whole[:n])
				if err != nil {
					if !errors.Is(err, ErrInvalid) {
						t.Fatalf("cut to %d bytes: %v is not ErrInvalid", n, err)
					}
					continue
				}
				if again, err := Encode(m); err != nil || !bytes.Equal(again, whole[:n]) {
					t.Fatalf("cut to %d bytes it decodes to something that is not there: %v, %v", n, m, err)
				}
			}
		})
	}
}

func fuzzDecode(f *testing.F, names []string, decode func([]byte) (message, error)) {
	for _, k := range kinds() {
		for _, name := range names {
			if k.name == name {
				data, err := Encode(k.sample())
				if err != nil {
					f.Fatal(err)
				}
				f.Add(data)
				f.Add(data[:len(data)/2])
				f.Add(append(data, unknownField...))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
			return
		}
		if err := m.Validate(); err != nil {
			t.Fatalf("what decoded is not valid: %v", err)
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(again)
		if err != nil {
			t.Fatalf("what was encoded again does not decode: %v", err)
		}
		sameMessage(t, "decoded again", back, m)
	})
}

func FuzzDecodeJob(f *testing.F) {
	fuzzDecode(f, []string{"job-embed", "job-recover", "job-purify", "job-inline"}, decoder(DecodeJob))
}

func FuzzDecodeResult(f *testing.F) {
	fuzzDecode(f, []string{"result", "result-refused"}, decoder(DecodeResult))
}

func FuzzDecodeScore(f *testing.F) {
	fuzzDecode(f, []string{"score", "score-failed", "score-refused", "score-attacked"}, decoder(DecodeScore))
}
