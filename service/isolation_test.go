package service

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/users"
)

// sameAnswer holds an answer against the one to what does not exist: nothing may differ but what is the request's own.
func sameAnswer(t *testing.T, what string, got, nothing *answered) {
	t.Helper()
	if got.status != nothing.status || !bytes.Equal(bare(t, got), bare(t, nothing)) {
		t.Errorf("%s: %d %s\nwhat does not exist: %d %s", what, got.status, got.body, nothing.status, nothing.body)
	}
	for _, h := range []http.Header{got.header, nothing.header} {
		h.Del("Date")
		h.Del(requestIDHeader)
	}
	if a, b := headers(got.header), headers(nothing.header); a != b {
		t.Errorf("%s: the headers tell:\n%s\n%s", what, a, b)
	}
}

func headers(h http.Header) string {
	var b strings.Builder
	_ = h.Write(&b) // a Builder takes everything
	return b.String()
}

// bare is a problem without the request's id.
func bare(t *testing.T, a *answered) []byte {
	t.Helper()
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	p.RequestID = ""
	out, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Neither of two users can embed with, recover with, list or poll what is the other's, with any model; and cannot tell it from nothing.
func TestTwoUsers(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	alice, bob := a.owner("tu-alice"), a.owner("tu-bob")
	cover, secret := picture(t, 1, 80), picture(t, 2, 80)
	for _, model := range []string{"sealed", "modulo"} {
		var job jobView
		alice.post("/v1/embed", fields{"cover": cover, "secret": secret, "key": "tu-alice", "model": model}, "Prefer", "respond-async", "Idempotency-Key", "one-"+model).
			into(http.StatusAccepted, &job)
		if job = alice.ended(job.ID); job.State != stateDone {
			t.Fatalf("%+v", job)
		}
		stego := alice.get(job.Output)
		stego.image()

		for name, f := range map[string]fields{
			"/v1/embed":   {"cover": cover, "secret": secret, "model": model},
			"/v1/recover": {"stego": stego.body, "model": model},
		} {
			with := func(key string) fields { f["key"] = key; return f }
			nothing := bob.post(name, with("tu-nobody"))
			nothing.problem(codeUnknownKey)
			for _, key := range []string{"tu-alice", "near-0-tu-alice", "swapped-tu-alice", "partial-500-tu-alice", "demo-1", "random-1-1", "TU-ALICE", "tu-alice "} {
				sameAnswer(t, name+" with "+key, bob.post(name, with(key)), nothing)
			}
		}
		// With his own key he is refused, or gets noise: some 7 dB, of ten thousand keys one more than 15. Alice reads at more than 40.
		got := bob.post("/v1/recover", fields{"stego": stego.body, "key": "tu-bob", "model": model})
		if model == "sealed" {
			got.problem(codeRefused)
		} else if db := psnr(t, secret, got.image()); db > 25 {
			t.Errorf("%s: bob reads at %.1f dB", model, db)
		}
		// Her job, by its id.
		nothing := bob.get("/v1/jobs/" + randomID())
		nothing.problem(codeUnknownJob)
		sameAnswer(t, "her job", bob.get("/v1/jobs/"+job.ID), nothing)
		sameAnswer(t, "her output", bob.get("/v1/jobs/"+job.ID+"/output"), bob.get("/v1/jobs/"+randomID()+"/output"))
		// Her idempotency key is not his: it answers what he asks for.
		bob.post("/v1/embed", fields{"cover": cover, "secret": secret, "key": "tu-bob", "model": model}, "Idempotency-Key", "one-"+model).image()
	}
	for path, own := range map[string]string{"/v1/keys": "tu-bob", "/v1/models": "tu-bob", "/v1/jobs": "embed"} {
		if got := string(bob.get(path).body); strings.Contains(got, "alice") || !strings.Contains(got, own) {
			t.Errorf("%s: %s", path, got)
		}
	}
	for _, line := range []string{`user=tu-bob key=tu-alice reason=unknown_key`, `user=tu-bob key="(not an id)" reason=unknown_key`} {
		if !strings.Contains(a.log.String(), line) {
			t.Errorf("the log has no %s", line)
		}
	}
}

// Who may embed for another does, and recovers nothing; nor does who lacks the scope.
func TestEmbedForAnother(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	alice := a.owner("ef-alice")
	bob := a.user(users.User{Name: "ef-bob", Scopes: both, EmbedFor: []string{"ef-alice"}})
	newKey(t, "ef-writer")
	writer := a.user(users.User{Name: "ef-writer", Scopes: []users.Scope{users.Embed}, Keys: []string{"ef-writer"}})
	secret := picture(t, 2, 64)
	for _, model := range []string{"sealed", "modulo"} {
		stego := bob.post("/v1/embed", fields{"cover": picture(t, 1, 64), "secret": secret, "key": "ef-alice", "model": model})
		stego.image()
		bob.post("/v1/recover", fields{"stego": stego.body, "key": "ef-alice", "model": model}).problem(codeEmbedOnly)
		if db := psnr(t, secret, alice.post("/v1/recover", fields{"stego": stego.body, "key": "ef-alice", "model": model}).image()); db < 25 {
			t.Errorf("%s: alice reads at %.1f dB", model, db)
		}
		stego = writer.post("/v1/embed", fields{"cover": picture(t, 1, 64), "secret": secret, "key": "ef-writer", "model": model})
		stego.image()
		writer.post("/v1/recover", fields{"stego": stego.body, "key": "ef-writer", "model": model}).problem(codeMissingScope)
	}
	var keys struct{ Keys []keyView }
	bob.get("/v1/keys").into(http.StatusOK, &keys)
	if len(keys.Keys) != 1 || len(keys.Keys[0].Allows) != 1 || keys.Keys[0].Allows[0] != users.Embed {
		t.Errorf("bob's keys %+v", keys)
	}
	if !strings.Contains(a.log.String(), "user=ef-bob key=ef-alice reason=embed_only_key") || !strings.Contains(a.log.String(), "user=ef-writer key=\"\" reason=missing_scope") {
		t.Error("a refusal is not in the log")
	}
}

// Where the service has k_e alone, its owner's friends embed and nobody recovers, the owner and an administrator included.
func TestPublicHalf(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	pair, err := keyring.Generate("ph-alice", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	half, err := pair.EmbedOnly()
	if err != nil {
		t.Fatal(err)
	}
	store(t, half)
	stego := a.user(users.User{Name: "ph-bob", Scopes: both, EmbedFor: []string{"ph-alice"}}).
		post("/v1/embed", fields{"cover": picture(t, 1, 64), "secret": picture(t, 2, 64), "key": "ph-alice"})
	stego.image()
	for _, u := range []users.User{{Name: "ph-alice", Scopes: both, Keys: []string{"ph-alice"}}, {Name: "ph-admin", Scopes: []users.Scope{users.Admin}}} {
		c := a.user(u)
		c.post("/v1/recover", fields{"stego": stego.body, "key": "ph-alice"}).problem(codeEmbedOnly)
	}
}

// A key that is taken away serves nothing, not even what was made before; nor does a token, whoever has the name then.
func TestTakenBack(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	alice := a.owner("tb-alice")
	f := fields{"cover": picture(t, 1, 64), "secret": picture(t, 2, 64), "key": "tb-alice"}
	var job jobView
	alice.post("/v1/embed", f, "Prefer", "respond-async", "Idempotency-Key", "k").into(http.StatusAccepted, &job)
	alice.ended(job.ID)
	alice.get("/v1/jobs/" + job.ID + "/output").image()
	if err := keyring.Update(ringFile, keyring.Protection{}, func(r *keyring.Keyring) error { return r.Remove("tb-alice") }); err != nil {
		t.Fatal(err)
	}
	alice.get("/v1/jobs/" + job.ID + "/output").problem(codeUnknownKey)
	alice.post("/v1/embed", f, "Idempotency-Key", "k").problem(codeUnknownKey)

	if err := parts.Users.Revoke("tb-alice"); err != nil {
		t.Fatal(err)
	}
	alice.get("/v1/jobs/" + job.ID).problem(codeUnauthorized)
	other := a.user(users.User{Name: "tb-alice", Scopes: both})
	other.get("/v1/jobs/" + job.ID).problem(codeUnknownJob)
}

// Neither tokens nor the bytes of keys are in the log, whatever a user sends where.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	a := start(t, Config{})
	c := a.owner("ns-alice")
	data, err := os.ReadFile(ringFile)
	if err != nil {
		t.Fatal(err)
	}
	var ring struct {
		Keys []struct{ ID, Embed, Recover string }
	}
	if err := json.Unmarshal(data, &ring); err != nil {
		t.Fatal(err)
	}
	secrets := []string{c.token, c.token[8:]}
	for _, k := range ring.Keys {
		if k.ID == "ns-alice" {
			secrets = append(secrets, k.Embed, k.Recover)
		}
	}
	if len(secrets) != 4 {
		t.Fatal("the keyring has no ns-alice")
	}
	cover := picture(t, 1, 64)
	answers := []*answered{
		c.post("/v1/recover", fields{"stego": cover, "key": secrets[3]}),
		c.post("/v1/recover", fields{"stego": cover, "key": "ns-alice", "model": secrets[3]}),
		c.post("/v1/recover", fields{"stego": cover, secrets[3]: "ns-alice"}),
		c.get("/v1/jobs/" + secrets[3]),
		c.get("/" + c.token + "?token=" + c.token),
		c.get("/v1/keys"),
	}
	for _, secret := range secrets {
		if strings.Contains(a.log.String(), secret) {
			t.Error("the log has a secret")
		}
		for _, got := range answers {
			if bytes.Contains(got.body, []byte(secret)) {
				t.Errorf("an answer has a secret: %s", got.body)
			}
		}
	}
}
