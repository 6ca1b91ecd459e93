package audit

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stegomq/schemas"
)

// refuse adds a comparison whose image recovery refused.
func (m *made) refuse(role schemas.Role, pair int, decode string) *schemas.Score {
	s := m.add(role, pair, "alice", decode, 0, 0)
	s.Metrics, s.Refusal = nil, &schemas.Refusal{Detail: "authentication failed"}
	return s
}

func (m *made) refuseAttack(name string, pair int) {
	m.attack(name, pair, 0)
	s := m.scores[len(m.scores)-1]
	s.Metrics, s.Refusal = nil, &schemas.Refusal{Detail: "authentication failed"}
}

// authenticated is a run of a cipher that refuses all keys but the matched one, and what was compressed.
func authenticated() *made {
	m := newMade(3)
	m.spec.ModelKeying = schemas.KeyingCipher
	for pair := range 3 {
		m.refuse(schemas.Leakage(schemas.Reader_READER_MISMATCHED), pair, "bob")
		m.refuse(schemas.LeakageCover(schemas.Reader_READER_MISMATCHED), pair, "bob")
		for bit := range 4 {
			m.refuse(schemas.Leakage(schemas.Reader_READER_NEAR), pair, fmt.Sprintf("near-%d-alice", bit))
		}
		m.refuse(schemas.Leakage(schemas.Reader_READER_SWAPPED), pair, "swapped-alice")
		m.refuseAttack("jpeg-75", pair)
		m.attack("crop-5", pair, 0.79)
	}
	m.refuseAttack("noise-1", 0)
	m.attack("noise-1", 1, 0.8)
	m.attack("noise-1", 2, 0.8)
	return m
}

func randomRefused(keys int) *made {
	m := newMade(2)
	for key := range keys {
		for pair := range 2 {
			m.refuse(schemas.Leakage(schemas.Reader_READER_RANDOM), pair, fmt.Sprintf("random-1-%d", key))
		}
	}
	return m
}

func TestEveryWrongKeyIsRefused(t *testing.T) {
	t.Parallel()
	a := New(Evidence{Attempts: authenticated().run("attempts"), Random: randomRefused(1000).run("random")})
	verdict(t, a, TestMatched).want(t, Passed)
	verdict(t, a, TestRandom).want(t, Passed, "Every wrong key of 1,000 was refused, on 2 stego images (2,000 of 2,000 attempts)", "0.37 % of all keys")
	verdict(t, a, TestMismatched).want(t, Passed, "Recovery refuses another user's key, every time: 3 of 3 attempts", "authenticated")
	verdict(t, a, TestNear).want(t, Passed, "a key one bit off, every time: 12 of 12 attempts", "These were 4 keys")
	verdict(t, a, TestSwapped).want(t, Passed, "exchanged, every time")
	verdict(t, a, TestRobust).want(t, Failed, "Not survived: JPEG quality 75 (refused 3 of 3).", "noise of sigma 1 (refused 1 of 3)", "cropping 5 % at each edge (98 %)", "it is authenticated, and gives no image")
	if r := a.RandomKeys; r.Keys != 1000 || r.Stegos != 2 || r.Best != nil || r.BestOf != nil || r.Quantiles != nil || r.Above[0].Of != 2000 || r.Above[0].Count != 0 {
		t.Errorf("random keys: %+v", r)
	}
	kept := make(map[string]float64)
	for _, s := range a.Robustness {
		kept[s.Attack] = s.Kept
	}
	if !near(kept["jpeg-75"], 0) || !near(kept["noise-1"], 2./3) || math.Abs(kept["crop-5"]-0.59/0.6) > 1e-9 {
		t.Errorf("kept %v", kept)
	}

	dir := t.TempDir()
	if err := a.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(filepath.Join(dir, "audit.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| random keys | refused | - | refused | - | - | 0 % | 0 % | - | refused 2,000 of 2,000 |",
		"| other users' keys | refused | - | refused | - | - | 0 % | 0 % | refused | refused 3 of 3 |",
		"| JPEG quality 75 | refused | - | refused | 0 % | refused 3 of 3 |",
		"such images are in no mean and in no chart", "its recovery is authenticated",
	} {
		if !strings.Contains(string(report), want) {
			t.Errorf("the report does not say %q:\n%s", want, report)
		}
	}
	for name, want := range map[string]bool{"robustness": true, "random-keys-ssim": false, "random-keys-best-of": false} {
		if _, err := os.Stat(filepath.Join(dir, name+".svg")); (err == nil) != want {
			t.Errorf("the figure %s: %v", name, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "audit.json"))
	if err != nil || !strings.Contains(string(data), `"best": null`) || !strings.Contains(string(data), `"refused": 2000`) {
		t.Errorf("%v: audit.json is %s", err, data)
	}
}

// An authenticated recovery that takes a wrong key has failed, whatever it shows.
func TestWrongKeyIsAccepted(t *testing.T) {
	t.Parallel()
	m, random := authenticated(), randomRefused(100)
	m.add(schemas.Leakage(schemas.Reader_READER_NEAR), 0, "alice", "near-9-alice", 10, 0.2)
	random.add(schemas.Leakage(schemas.Reader_READER_RANDOM), 0, "alice", "random-1-100", 10, 0.21)
	a := New(Evidence{Attempts: m.run("attempts"), Random: random.run("random")})
	verdict(t, a, TestNear).want(t, Failed, "ACCEPTED", "in 1 of 13 attempts", "near-9-alice")
	verdict(t, a, TestRandom).want(t, Failed, "ACCEPTED", "in 1 of 201 attempts", "random-1-100")
	if err := a.WriteFiles(t.TempDir()); err != nil {
		t.Fatal(err)
	}
}

// Where the matched key is refused that others are proves nothing.
func TestMatchedKeyIsRefused(t *testing.T) {
	t.Parallel()
	some := authenticated()
	some.refuse(schemas.Recoverability, 0, "alice")
	a := New(Evidence{Attempts: some.run("attempts")})
	verdict(t, a, TestMatched).want(t, Failed, "THE MATCHED KEY IS REFUSED", "1 of 4 images")
	verdict(t, a, TestNear).want(t, Unclear, "As the matched key does not recover either")

	all := authenticated()
	for _, s := range all.scores {
		if s.Role() == schemas.Recoverability {
			s.Metrics, s.Refusal = nil, &schemas.Refusal{}
		}
	}
	a = New(Evidence{Attempts: all.run("attempts")})
	verdict(t, a, TestMatched).want(t, Failed, "THE MATCHED KEY IS REFUSED", "3 of 3 images")
	verdict(t, a, TestRobust).want(t, Unclear)
	if err := a.WriteFiles(t.TempDir()); err != nil {
		t.Fatal(err)
	}
}
