package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/access"
	"stegomq/schemas"
)

// startAccounts runs a server with the operator's account and one for each grant. It gives the URL of a user, whose password is testSecret.
func startAccounts(t *testing.T, grants ...access.Grant) (url func(user string) string) {
	t.Helper()
	var conf strings.Builder
	for _, g := range grants {
		fmt.Fprintf(&conf, "%s: %q\n", access.PasswordVariable(g.Tenant), testSecret)
	}
	fmt.Fprintf(&conf, "listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }\naccounts {\n%s: { jetstream: enabled, users: [{ user: %s, password: %q }]\n%s}\n",
		t.TempDir(), access.OperatorAccount, User, testSecret, access.ExportsConfig())
	for _, g := range grants {
		conf.WriteString(g.Config())
	}
	conf.WriteString("}\n")
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, conf.String())
	}
	opts.NoSigs, opts.NoLog = true, true
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return func(user string) string { return "nats://" + user + ":" + testSecret + "@" + ns.Addr().String() }
}

// TestTenantsBus reads and writes what is a tenant's own.
func TestTenantsBus(t *testing.T) {
	t.Parallel()
	grant := access.Grant{Tenant: "alice", Keys: []string{"alice"}, Models: []string{sha("model")}}
	url := startAccounts(t, grant)
	cfg := quick(nil)
	cfg.URL, cfg.Logger = url(User), testLog(t)
	b := open(t, cfg)
	cfg.URL, cfg.Tenant = url("alice"), "alice"
	if _, err := Open(testContext(t), cfg); !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.Contains(err.Error(), "access grant alice") {
		t.Fatalf("without a grant: %v", err)
	}
	if err := b.EnsureTenant(testContext(t), "alice", TenantOptions{Grant: "text", Models: grant.Models}); err != nil {
		t.Fatal(err)
	}
	alice := open(t, cfg)
	digest := mustPut(t, alice.Blobs(), []byte("of alice"))
	if _, err := b.Blobs().Get(testContext(t), digest); !errors.Is(err, ErrBlobMissing) {
		t.Errorf("the operator's own store has it: %v", err)
	}
	consumeJobs(t, b, "one", 1, func(ctx context.Context, j *schemas.Job) error {
		if _, err := b.Blobs().Get(ctx, digest); err != nil {
			t.Errorf("the worker cannot read the tenant's image: %v", err)
		}
		return b.PublishResult(ctx, testResult(j))
	})
	got := make(chan *schemas.Result, 4)
	background(t, func(ctx context.Context) error {
		return alice.SubscribeResults(ctx, "run", func(r *schemas.Result) error { got <- r; return nil })
	})
	job := testJob("run", "alice", 1)
	job.Tenant = "alice"
	job.Id = schemas.JobID(job)
	publishJobs(t, alice, job)
	receive(t, got, "the result")
	if n := messages(t, b, schemas.ResultStream(schemas.MainTenant)); n != 0 {
		t.Error("the result is in the operator's stream")
	}
	status, err := b.Tenant(testContext(t), "alice")
	if err != nil || status.Grant != "text" || len(status.Streams) != 2 || status.Streams[0].Messages != 1 || status.Streams[1].MaxBytes != tenantBlobBytes {
		t.Errorf("status %+v, %v", status, err)
	}
	if err := alice.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := b.DropTenant(testContext(t), "alice"); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Tenant(testContext(t), "alice"); !errors.Is(err, ErrNoTenant) {
		t.Errorf("after it was dropped: %v", err)
	}
}
