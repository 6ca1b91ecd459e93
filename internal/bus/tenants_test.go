package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"stegomq/internal/access"
	"stegomq/internal/blob"
	"stegomq/internal/keyring"
	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

// unhurried gives a plain client as long as a test waits: its own 2 s are short on a busy machine.
var unhurried = nats.Timeout(natsrig.Patience)

// startAccounts runs a server with the operator's account and one for each grant. It gives the URL of a user, whose password is natsrig.Secret.
func startAccounts(t *testing.T, grants ...access.Grant) (url func(user string) string) {
	t.Helper()
	var conf strings.Builder
	for _, g := range grants {
		fmt.Fprintf(&conf, "%s: %q\n", access.PasswordVariable(g.Tenant), natsrig.Secret)
	}
	// Messages of this size can be filled with names of images alone.
	fmt.Fprintf(&conf, "max_payload: 200000\njetstream { store_dir: %q }\naccounts {\n%s: { jetstream: enabled, users: [{ user: %s, password: %q }]\n%s}\n",
		t.TempDir(), access.OperatorAccount, natsserver.User, natsrig.Secret, access.ExportsConfig())
	for _, g := range grants {
		conf.WriteString(g.Config())
	}
	conf.WriteString("}\n")
	address := natsrig.Configured(t, conf.String())
	return func(user string) string { return "nats://" + user + ":" + natsrig.Secret + "@" + address }
}

// TestTenantsBus reads and writes a tenant's own messages.
func TestTenantsBus(t *testing.T) {
	t.Parallel()
	grant := access.Grant{Tenant: "alice", Keys: []string{"alice"}, Models: []string{natsrig.SHA("model")}}
	url := startAccounts(t, grant)
	cfg := quick(nil)
	cfg.Link.URL, cfg.Link.Logger = url(natsserver.User), natsrig.Log(t)
	b := open(t, cfg)
	cfg.Link.URL, cfg.Link.Tenant = url("alice"), "alice"
	if _, err := streams.Open(natsrig.Context(t), natsrig.Dial(t, cfg.Link), cfg.Streams); !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.Contains(err.Error(), "access grant alice") {
		t.Fatalf("without a grant: %v", err)
	}
	if err := b.streams.EnsureTenant(natsrig.Context(t), "alice", streams.TenantOptions{Grant: "text", Models: grant.Models}); err != nil {
		t.Fatal(err)
	}
	alice := open(t, cfg)
	theirs, ours := blob.OnStreams(alice.link, 0), blob.OnStreams(b.link, 0)
	digest, err := theirs.Put(natsrig.Context(t), []byte("of alice"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Get(natsrig.Context(t), digest); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("the operator's own store has it: %v", err)
	}
	consumeJobs(t, b, "one", 1, func(ctx context.Context, j *schemas.Job) error {
		if _, err := ours.Get(ctx, digest); err != nil {
			t.Errorf("the worker cannot read the tenant's image: %v", err)
		}
		return b.PublishResult(ctx, natsrig.Result(j))
	})
	got := make(chan *schemas.Result, 4)
	natsrig.Background(t, func(ctx context.Context) error {
		return alice.SubscribeResults(ctx, "run", func(r *schemas.Result) error { got <- r; return nil })
	})
	// On the operator's link a subscription gets a tenant's results, if the context names the tenant.
	forThem, forUs := make(chan *schemas.Result, 4), make(chan *schemas.Result, 4)
	natsrig.Background(t, func(ctx context.Context) error {
		return b.SubscribeResults(schemas.WithTenant(ctx, "alice"), "run", func(r *schemas.Result) error { forThem <- r; return nil })
	})
	natsrig.Background(t, func(ctx context.Context) error {
		return b.SubscribeResults(ctx, "run", func(r *schemas.Result) error { forUs <- r; return nil })
	})
	job := natsrig.Job("run", "alice", 1)
	job.Tenant = "alice"
	job.Id = schemas.JobID(job)
	publishJobs(t, alice, job)
	natsrig.Receive(t, got, "the result")
	natsrig.Receive(t, forThem, "the result, on the operator's link")
	if len(forUs) > 0 {
		t.Error("the operator's own run has the tenant's result")
	}
	if n := messages(t, b, schemas.ResultStream(schemas.MainTenant)); n != 0 {
		t.Error("the result is in the operator's stream")
	}
	// It was heard as it was published, which may be before it is stored.
	natsrig.Eventually(t, "the result in the tenant's stream", func() bool { return messages(t, b, schemas.ResultStream("alice")) == 1 })
	status, err := b.streams.Tenant(natsrig.Context(t), "alice")
	if err != nil || status.Grant != "text" || len(status.Streams) != 2 || status.Streams[0].Messages != 1 || status.Streams[1].MaxBytes != 1<<30 {
		t.Errorf("status %+v, %v", status, err)
	}
	if err := alice.link.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := b.streams.DropTenant(natsrig.Context(t), "alice"); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.streams.Tenant(natsrig.Context(t), "alice"); !errors.Is(err, streams.ErrNoTenant) {
		t.Errorf("after it was dropped: %v", err)
	}
}

// The server takes the account of every name that a grant may have, also of names that look like a number, a date or a word of its configuration.
func TestNamesOfTenants(t *testing.T) {
	t.Parallel()
	var grants []access.Grant
	for _, name := range []string{
		"007", "1k", "10mb", "2h", "1e5", "0x1f", "1-2", "2024-team", "2026-01-01", "true", "off", "yes", "null", "include", "users", "a-b", "a_b", "system_account",
	} {
		g := access.Grant{Tenant: name, Keys: []string{"k"}, Models: []string{natsrig.SHA("model")}}
		if err := g.Validate(); err != nil {
			t.Fatal(err)
		}
		grants = append(grants, g)
	}
	url := startAccounts(t, grants...)
	for _, g := range grants {
		nc, err := nats.Connect(url(g.Tenant), unhurried)
		if err != nil {
			t.Errorf("%s: %v", g.Tenant, err)
			continue
		}
		nc.Close()
	}
}

// startTenant runs a server with a tenant called mallory, whose key is mallory, and gives the operator's bus and a plain connection of the tenant's.
func startTenant(t *testing.T) (b *Bus, mallory *nats.Conn) {
	t.Helper()
	grant := access.Grant{Tenant: "mallory", Keys: []string{"mallory"}, Models: []string{natsrig.SHA("model")}}
	url := startAccounts(t, grant)
	cfg := quick(nil)
	cfg.Link.URL, cfg.Link.Logger = url(natsserver.User), natsrig.Log(t)
	cfg.UnservedAfter = time.Millisecond
	b = open(t, cfg)
	if err := b.streams.EnsureTenant(natsrig.Context(t), "mallory", streams.TenantOptions{Models: grant.Models}); err != nil {
		t.Fatal(err)
	}
	mallory, err := nats.Connect(url("mallory"), unhurried)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mallory.Close)
	return b, mallory
}

// The largest message that the server takes, on the longest subject, dies once, too.
func TestLongSubject(t *testing.T) {
	t.Parallel()
	b, mallory := startTenant(t)
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { return nil })
	subject := fmt.Sprintf("job.interactive.mallory.%s.embed.mallory.", natsrig.SHA("model")) + strings.Repeat("r", 3880)
	if _, err := mallory.Request(subject, make([]byte, mallory.MaxPayload()), natsrig.Patience); err != nil {
		t.Fatal(err)
	}
	waitEmpty(t, b, natsrig.Interactive)
	if letter := oneDead(t, b); letter.GetReason() != string(schemas.ReasonBadMessage) || !strings.HasPrefix(letter.GetSubject(), subject[:500]) {
		t.Errorf("%s %s", letter.GetReason(), letter.GetSubject())
	}
}

// A message on a subject that is no text dies once, as any other does that is no job.
func TestSubjectThatIsNoText(t *testing.T) {
	t.Parallel()
	b, mallory := startTenant(t)
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { return nil })
	subject := fmt.Sprintf("job.interactive.mallory.%s.embed.mallory.", natsrig.SHA("model")) + "\xff\x1b"
	if _, err := mallory.Request(subject, []byte("no job"), natsrig.Patience); err != nil {
		t.Fatal(err)
	}
	waitEmpty(t, b, natsrig.Interactive)
	if letter := oneDead(t, b); letter.GetReason() != string(schemas.ReasonBadMessage) || !strings.HasSuffix(letter.GetSubject(), ".mallory.?\x1b") {
		t.Errorf("%v", letter)
	}
}

// A job that leaves no room for its result dies once, and its sender is told.
func TestDeadJobWithoutRoomForItsResult(t *testing.T) {
	t.Parallel()
	b, mallory := startTenant(t)
	job := natsrig.Job("run", "mallory", 0)
	job.Tenant = "mallory"
	first := job.GetItems()[0]
	for i := 1; i < schemas.MaxItems; i++ {
		item := proto.CloneOf(first)
		item.Id = fmt.Sprintf("item-%0100d", i)
		job.Items = append(job.Items, item)
	}
	job.Id = schemas.JobID(job)
	encoded := func() []byte {
		data, err := schemas.Encode(job)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, item := range job.GetItems() { // the last name takes what is left
		left := int(b.link.MaxMessage()) - len(encoded()) - 16
		item.Cover.Name = strings.Repeat("n", min(4096, left))
		if left <= 4096 {
			break
		}
	}
	if left := int(b.link.MaxMessage()) - len(encoded()); left < 0 || left > 32 {
		t.Fatalf("the job leaves %d bytes", left)
	}
	told := make(chan *nats.Msg, 64)
	if _, err := mallory.ChanSubscribe("result.mallory.run", told); err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return schemas.Permanent(schemas.ReasonKeyMismatch, errors.New("another fingerprint"))
	})
	if _, err := mallory.Request(schemas.JobSubject(job), encoded(), natsrig.Patience); err != nil {
		t.Fatal(err)
	}
	waitEmpty(t, b, natsrig.Interactive)
	oneDead(t, b)
	result, err := schemas.DecodeResult(natsrig.Receive(t, told, "the result").Data)
	if err != nil || result.GetJob().GetId() != job.GetId() || len(result.GetOutcomes()) != schemas.MaxItems ||
		result.GetOutcomes()[0].GetFailure().GetReason() != string(schemas.ReasonKeyMismatch) {
		t.Errorf("%v, %v", result, err)
	}
}

// A user who was revoked and is still let in by the server holds up nobody: work for a user without streams ends at once.
func TestRevokedTenantHoldsUpNobody(t *testing.T) {
	t.Parallel()
	b, mallory := startTenant(t)
	if err := b.streams.DropTenant(natsrig.Context(t), "mallory"); err != nil {
		t.Fatal(err)
	}
	ours := blob.OnStreams(b.link, 0)
	does := map[string]func(ctx context.Context, j *schemas.Job) error{
		"result": func(ctx context.Context, j *schemas.Job) error { return b.PublishResult(ctx, natsrig.Result(j)) },
		"get":    func(ctx context.Context, _ *schemas.Job) error { _, err := ours.Get(ctx, natsrig.SHA("x")); return err },
		"has":    func(ctx context.Context, _ *schemas.Job) error { _, err := ours.Has(ctx, natsrig.SHA("x")); return err },
		"put":    func(ctx context.Context, _ *schemas.Job) error { _, err := ours.Put(ctx, []byte("x")); return err },
		"put large": func(ctx context.Context, _ *schemas.Job) error {
			_, err := ours.Put(ctx, make([]byte, 1<<20))
			return err
		},
		"die": func(context.Context, *schemas.Job) error {
			return schemas.Permanent(schemas.ReasonKeyMismatch, errors.New("another fingerprint"))
		},
	}
	served := make(chan string, 1)
	consumeJobs(t, b, "one", 1, func(ctx context.Context, j *schemas.Job) error {
		if j.GetTenant() == "" {
			served <- j.GetRun()
			return b.PublishResult(ctx, natsrig.Result(j))
		}
		return does[j.GetItems()[0].GetCover().GetName()](ctx, j)
	})
	for name := range does {
		job := natsrig.Job(strings.ReplaceAll(name, " ", "-"), "mallory", 0)
		job.Items[0].Cover.Name = name
		sendJob(t, mallory, job)
		publishJobs(t, b, natsrig.Job("after-"+job.GetRun(), "alice", 1))
		if run := natsrig.Receive(t, served, "the next job, after "+name); run != "after-"+job.GetRun() {
			t.Errorf("%s was served", run)
		}
		waitEmpty(t, b, natsrig.Interactive)
	}
}

// A tenant learns nothing of the keys of others from a worker that has not the tenant's: the letter says all, the result does not.
func TestTenantIsToldNothingOfAKeyring(t *testing.T) {
	t.Parallel()
	b, mallory := startTenant(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	err := keyring.Update(path, keyring.Protection{}, func(k *keyring.Keyring) error {
		pair, err := keyring.Generate("alice", time.Now())
		return errors.Join(err, k.Add(pair))
	})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Watch(keyring.Protection{}, path)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan *nats.Msg, 8)
	if _, err := mallory.ChanSubscribe("result.mallory.>", told); err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error {
		_, err := ring.Resolve(j.GetKey().GetId(), j.GetKey().GetFingerprint())
		return schemas.Permanent(schemas.ReasonUnknownKey, err)
	})
	for _, run := range []string{"missing", "unreadable"} {
		if run == "unreadable" {
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		sendJob(t, mallory, natsrig.Job(run, "mallory", 0))
		result, err := schemas.DecodeResult(natsrig.Receive(t, told, "the result").Data)
		if err != nil {
			t.Fatal(err)
		}
		failure := result.GetOutcomes()[0].GetFailure()
		if failure.GetReason() != string(schemas.ReasonUnknownKey) || !strings.Contains(failure.GetDetail(), `"mallory"`) ||
			strings.Contains(failure.GetDetail(), path) || strings.Contains(failure.GetDetail(), "1 keys") {
			t.Errorf("%s: %v", run, failure)
		}
	}
}

// sendJob makes a job the tenant mallory's, and publishes it as that tenant's programs do.
func sendJob(t *testing.T, mallory *nats.Conn, job *schemas.Job) {
	t.Helper()
	job.Tenant = "mallory"
	job.Id = schemas.JobID(job)
	data, err := schemas.Encode(job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mallory.Request(schemas.JobSubject(job), data, natsrig.Patience); err != nil {
		t.Fatal(err)
	}
}

// Counted tries are forgotten with their message. Otherwise a tenant whose key was taken away would fill the bucket for a day, and nobody's job could be
// tried again.
func TestTriesAreForgotten(t *testing.T) {
	t.Parallel()
	b, mallory := startTenant(t)
	const bucket = "KV_TRIES"
	stream, err := b.link.JS.Stream(natsrig.Context(t), bucket)
	if err != nil {
		t.Fatal(err)
	}
	small := stream.CachedInfo().Config
	small.MaxBytes = 1 << 10
	if _, err := b.link.JS.UpdateStream(natsrig.Context(t), small); err != nil {
		t.Fatal(err)
	}
	served, tries := make(chan struct{}, 1), 0
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error {
		if j.GetTenant() != "" {
			return schemas.Permanent(schemas.ReasonUnknownKey, errors.New("no such key"))
		}
		if tries++; tries < 3 {
			return errors.New("not now")
		}
		served <- struct{}{}
		return nil
	})
	for n := range 30 {
		sendJob(t, mallory, natsrig.Job("run", "mallory", n))
		waitEmpty(t, b, natsrig.Interactive)
	}
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	natsrig.Receive(t, served, "a job that is tried again")
	waitEmpty(t, b, natsrig.Interactive)
	natsrig.Eventually(t, "no entries", func() bool { return messages(t, b, bucket) == 0 })
}
