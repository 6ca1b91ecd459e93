package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/schemas"
)

// tenants is the example of ops/nats as a running server, with the operator's worker beside it.
type tenants struct {
	*home
	addr   string
	redis  string
	sealed string // the model's digest
	worker *process
}

// Passwords begin with a letter: a value of the environment is read like the rest of the configuration.
func tenantPassword(user string) string { return "password-of-" + user }

func tenantsExample(t *testing.T) string {
	t.Helper()
	return string(read(t, filepath.Join(repository, "ops", "nats", "tenants.conf")))
}

// startExample runs the example of ops/nats, with more configuration behind it, and returns where it listens.
func startExample(t *testing.T, more string) (addr string) {
	t.Helper()
	bin, err := natsServer()
	must(t, err)
	conf := filepath.Join(t.TempDir(), "tenants.conf")
	must(t, os.WriteFile(conf, []byte(strings.Replace(tenantsExample(t), "/var/lib/nats", t.TempDir(), 1)+more), 0o600))
	cmd := exec.CommandContext(t.Context(), bin, "-c", conf, "-a", "127.0.0.1", "-p", "-1")
	cmd.Env = append(os.Environ(), "STEGOMQ_NATS_PASSWORD="+tenantPassword("stegomq"),
		"STEGOMQ_NATS_PASSWORD_ALICE="+tenantPassword("alice"), "STEGOMQ_NATS_PASSWORD_BOB="+tenantPassword("bob"))
	server := startProcess(t, "nats-server", cmd)
	addr = server.await(`Listening for client connections on (\S+)`)[1]
	server.await(`Server is ready`)
	return addr
}

// startTenants runs the example's server, grants what the example says, and starts a worker with the keys of both users.
func startTenants(t *testing.T) *tenants {
	t.Helper()
	x := &tenants{home: newHome(t), addr: startExample(t, ""), redis: startRedis(t)}
	example := tenantsExample(t)
	x.env = append(x.env, "STEGOMQ_MODELS="+shippedModels(), "STEGOMQ_MODEL=sealed", "STEGOMQ_NATS=nats://stegomq:"+tenantPassword("stegomq")+"@"+x.addr)
	m, err := model.Open("sealed", shippedModels())
	must(t, err)
	x.sealed = m.Digest
	x.photographs("photos", 2, 128, 96)
	for _, user := range []string{"alice", "bob"} {
		x.ok("keys", "new", user)
		granted := x.ok("access", "grant", user, "--key", user)
		_, account, _ := strings.Cut(granted.stdout, "\n") // the first line says what to do
		if !strings.Contains(strings.Join(strings.Fields(example), " "), strings.Join(strings.Fields(account), " ")) {
			t.Errorf("ops/nats/tenants.conf is not what access grant prints:\n%s", granted.stdout)
		}
	}
	x.startWorker()
	return x
}

func (x *tenants) startWorker(args ...string) {
	x.t.Helper()
	x.worker = x.start(append([]string{"gpuworker", "--redis", x.redis, "--unserved-after", "1s", "--log-level", "info"}, args...)...)
	x.worker.await("(?m)^ready$")
}

// as runs a command as a user without Redis.
func (x *tenants) as(user string, args ...string) result {
	x.t.Helper()
	h := *x.home
	h.env = append(slices.Clone(x.env), "STEGOMQ_NATS=nats://"+user+":"+tenantPassword(user)+"@"+x.addr, "STEGOMQ_TENANT="+user)
	return h.run(args...)
}

func (x *tenants) embed(user, out string) result {
	return x.as(user, "embed", "--key", user, "--cover", "photos/"+x.photo(0), "--secret", "photos/"+x.photo(1), "-o", out)
}

func (x *tenants) recover(user, stego, out string) result {
	return x.as(user, "recover", "--key", user, "--stego", stego, "-o", out)
}

func (x *tenants) photo(n int) string {
	x.t.Helper()
	entries, err := os.ReadDir(x.path("photos"))
	must(x.t, err)
	return entries[n].Name()
}

// dial connects a plain client.
func (x *tenants) dial(user string) *nats.Conn {
	x.t.Helper()
	nc, err := nats.Connect("nats://"+x.addr, nats.UserInfo(user, tenantPassword(user)), nats.Timeout(patience), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	must(x.t, err)
	x.t.Cleanup(nc.Close)
	return nc
}

// holdings are the content, configuration and consumers of every stream of the operator's account except bob's.
func (x *tenants) holdings(op *nats.Conn) map[string]string {
	x.t.Helper()
	js, err := jetstream.New(op, jetstream.WithDefaultTimeout(patience))
	must(x.t, err)
	held := make(map[string]string)
	streams := js.ListStreams(x.t.Context())
	for info := range streams.Info() {
		name := info.Config.Name
		if strings.HasSuffix(name, "_bob") {
			continue
		}
		stream, err := js.Stream(x.t.Context(), name)
		must(x.t, err)
		consumers := stream.ConsumerNames(x.t.Context())
		var names []string
		for n := range consumers.Name() {
			names = append(names, n)
		}
		must(x.t, consumers.Err())
		slices.Sort(names)
		config, err := json.Marshal(info.Config)
		must(x.t, err)
		held[name] = fmt.Sprintf("%d messages from %d to %d, deleted %d, consumers %q, %s", info.State.Msgs, info.State.FirstSeq, info.State.LastSeq, info.State.NumDeleted, names, config)
	}
	must(x.t, streams.Err())
	return held
}

// apiSubjects are the subjects of every request that the server's JetStream API has, from its source, with their first wildcard for a
// stream and their second for a consumer.
func apiSubjects(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/nats-io/nats-server/v2")
	cmd.Dir = repository
	dir, err := cmd.Output()
	must(t, err)
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "server", "*.go"))
	must(t, err)
	found := make(map[string]bool)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING || strings.HasSuffix(file, "_test.go") {
				return true
			}
			if s, err := strconv.Unquote(literal.Value); err == nil && strings.HasPrefix(s, "$JS.API.") && !strings.ContainsAny(s, " \t") {
				found[strings.NewReplacer("%s", "*", ">", "*").Replace(s)] = true
			}
			return true
		})
	}
	if len(found) < 40 {
		t.Fatalf("only %d subjects of the API found: %v", len(found), found)
	}
	return slices.Sorted(maps.Keys(found))
}

// fill replaces wildcards by names, one after the other; the last name replaces all remaining ones.
func fill(subject string, names ...string) string {
	for _, name := range names[:len(names)-1] {
		subject = strings.Replace(subject, "*", name, 1)
	}
	return strings.ReplaceAll(subject, "*", names[len(names)-1])
}

// bob tries to reach everything of alice's on a server with her work. Nothing of hers changes, and he receives nothing of it.
// ofBobsStream says that an answer to bob is about his own stream: an acknowledgement, a message of his or his stream's state.
func ofBobsStream(m *nats.Msg) bool {
	if m.Header.Get("Nats-Stream") == "BLOBS_bob" {
		return true
	}
	for _, own := range []string{`"stream":"BLOBS_bob"`, `"config":{"name":"BLOBS_bob"`, `"message":{"subject":"blob.bob.`} {
		if bytes.Contains(m.Data, []byte(own)) {
			return true
		}
	}
	return false
}

func TestBobAtAlices(t *testing.T) {
	t.Parallel()
	x := startTenants(t)
	x.embed("alice", "stego.png").want(t, 0, "embed")
	x.recover("alice", "stego.png", "secret.png").want(t, 0, "recover")
	x.embed("bob", "bob.png").want(t, 0, "embed as bob")

	op, bob := x.dial("stegomq"), x.dial("bob")
	js, err := jetstream.New(op, jetstream.WithDefaultTimeout(patience))
	must(t, err)
	ring, err := keyring.Open(x.path("config", "stegomq", "keyring.json"), keyring.Protection{})
	must(t, err)
	ref := func(id string) *schemas.KeyRef {
		pair, err := ring.Get(id)
		must(t, err)
		return &schemas.KeyRef{Id: id, Fingerprint: pair.Fingerprint()}
	}
	cover := read(t, x.path("photos", x.photo(0)))
	job := func(tenant, key, run string) *schemas.Job {
		sum := sha256.Sum256(cover)
		image := &schemas.ImageRef{Digest: hex.EncodeToString(sum[:]), Inline: cover}
		j := &schemas.Job{
			Run: run, Tenant: tenant, Operation: schemas.Operation_OPERATION_EMBED, Model: x.sealed, Key: ref(key),
			Geometry: &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
			Items:    []*schemas.Item{{Id: "item", Cover: image, Secret: image}},
		}
		j.Id = schemas.JobID(j)
		must(t, j.Validate())
		return j
	}
	encoded := func(j *schemas.Job) []byte {
		data, err := schemas.Encode(j)
		must(t, err)
		return data
	}
	// A user has a result before the job leaves its queue.
	for _, class := range schemas.Classes() {
		for deadline, left := time.Now().Add(patience), uint64(1); left > 0; {
			queue, err := js.Stream(t.Context(), schemas.JobStream(class))
			must(t, err)
			if left = queue.CachedInfo().State.Msgs; left > 0 && time.Now().After(deadline) {
				t.Fatalf("%d jobs stay in %s", left, schemas.JobStream(class))
			}
		}
	}
	// A job of alice's that is being handled, and the subject of its acknowledgement.
	x.worker.signal(syscall.SIGSTOP)
	other := "f" + x.sealed[1:]
	held := job("alice", "alice", "held")
	held.Model = other // which no worker serves
	held.Id = schemas.JobID(held)
	_, err = js.Publish(t.Context(), schemas.JobSubject(held), encoded(held))
	must(t, err)
	consumer, err := js.CreateConsumer(t.Context(), schemas.JobStream(schemas.Interactive), jetstream.ConsumerConfig{
		Durable: other, FilterSubject: schemas.ModelFilter(schemas.Interactive, other), AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour,
	})
	must(t, err)
	inHand, err := consumer.Next(jetstream.FetchMaxWait(patience))
	must(t, err)
	x.worker.signal(syscall.SIGCONT)

	blobs, err := js.Stream(t.Context(), schemas.BlobStream("alice"))
	must(t, err)
	info, err := blobs.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	must(t, err)
	var blob string // one of alice's
	for subject := range info.State.Subjects {
		blob = subject
	}
	if blob == "" {
		t.Fatal("alice has no blobs")
	}
	before := x.holdings(op)
	unharmed := func(what string) {
		t.Helper()
		must(t, bob.Flush())
		_, err := bob.Request(schemas.TenantAPI+".STREAM.INFO.BLOBS_bob", nil, patience) // the server has handled the requests before
		must(t, err)
		after := x.holdings(op)
		for name := range before {
			if after[name] != before[name] {
				t.Errorf("%s: %s was\n%s\nand is\n%s", what, name, before[name], after[name])
			}
		}
		if len(after) != len(before) {
			t.Errorf("%s: there are %d streams, there were %d", what, len(after), len(before))
		}
		before = after
	}
	// refused sends a request and wants an error, or no answer.
	refused := func(subject string, data []byte, header nats.Header) {
		t.Helper()
		m, err := bob.RequestMsg(&nats.Msg{Subject: subject, Data: data, Header: header}, 100*time.Millisecond)
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) {
			return
		}
		must(t, err)
		var answer struct {
			Error *struct{ Description string }
		}
		if json.Unmarshal(m.Data, &answer) != nil || answer.Error == nil {
			t.Errorf("%s %.60q was answered: %v %.300q", subject, data, m.Header, m.Data)
		}
	}

	streams := []string{"BLOBS_alice", "RESULTS_alice", "JOBS_INTERACTIVE", "JOBS_BULK", "JOBS_FOLLOWUP", "SCORING", "DEAD", "KV_TRIES", "BLOBS_main", "RESULTS_main"}
	stolen := []string{ // where a consumer of bob's would deliver to
		schemas.JobSubject(job("alice", "alice", "stolen")), "stolen", "_INBOX.stolen",
	}
	bodies := [][]byte{nil, []byte("{}"), []byte(`{"seq":1}`), []byte(`{"last_by_subj":"` + blob + `"}`), []byte(`{"seq":1,"next_by_subj":"result.alice.>"}`), []byte(`{"batch":1}`)}
	consumers := [][]byte{}
	for _, stream := range streams {
		consumers = append(consumers, []byte(`{"stream_name":"`+stream+`","config":{"durable_name":"evil","ack_policy":"explicit"}}`))
		for _, deliver := range stolen {
			consumers = append(consumers, []byte(`{"stream_name":"`+stream+`","config":{"name":"evil","deliver_subject":"`+deliver+`","ack_policy":"none"}}`))
		}
		bodies = append(bodies, []byte(`{"name":"EVIL","mirror":{"name":"`+stream+`"}}`), []byte(`{"name":"`+stream+`","subjects":["evil.>"]}`))
	}
	forged := nats.Header{"Nats-Request-Info": {`{"acc":"STEGOMQ","svc":"STEGOMQ","user":"stegomq"}`}}

	t.Run("API", func(t *testing.T) {
		// Every request that the server knows, for every stream, as every account names it.
		var all sync.WaitGroup
		gate := make(chan struct{}, 64)
		n := 0
		try := func(subject string, data []byte, header nats.Header) {
			n++
			gate <- struct{}{}
			all.Go(func() { refused(subject, data, header); <-gate })
		}
		for _, api := range apiSubjects(t) {
			request := strings.TrimPrefix(api, "$JS.API.")
			for _, stream := range streams {
				for _, prefix := range []string{"$JS.API.", schemas.TenantAPI + ".", "$JS.stegomq.API."} {
					subject := prefix + fill(request, stream, x.sealed, blob)
					for i, body := range bodies {
						if i < 3 || strings.Contains(subject, "GET") || strings.Contains(subject, "STREAM.CREATE") || strings.Contains(subject, "STREAM.UPDATE") {
							try(subject, body, nil)
						}
					}
					try(subject, nil, forged)
					if strings.Contains(request, "CREATE") && strings.HasPrefix(request, "CONSUMER") {
						for _, body := range consumers {
							try(subject, body, nil)
						}
					}
				}
			}
			for _, account := range []string{"alice", "STEGOMQ"} {
				try(fill(api, account, "BLOBS_alice"), nil, nil)
			}
		}
		for _, subject := range []string{"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.ACCOUNT.STEGOMQ.CONNZ",
			"$SYS.REQ.ACCOUNT.STEGOMQ.JSZ", "$SYS.REQ.ACCOUNT.alice.INFO", "$SYS.REQ.ACCOUNT.alice.SUBSZ", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.SERVER.RELOAD", "$KV.TRIES.x", "worker.ping"} {
			try(subject, nil, nil)
		}
		all.Wait()
		t.Logf("%d requests", n)
		// Every account may list its own connections.
		m, err := bob.Request("$SYS.REQ.SERVER.PING.CONNZ", []byte(`{"auth":true}`), patience)
		must(t, err)
		var connections struct {
			Data struct {
				Connections []struct{ Account string }
			}
		}
		must(t, json.Unmarshal(m.Data, &connections))
		for _, c := range connections.Data.Connections {
			if c.Account != "bob" {
				t.Errorf("bob sees a connection of %q", c.Account)
			}
		}
		if len(connections.Data.Connections) == 0 {
			t.Errorf("bob does not see his own connection: %.300q", m.Data)
		}
		unharmed("requests to the API")
	})

	t.Run("subjects", func(t *testing.T) {
		ofAlice := job("alice", "alice", "forged")
		data := encoded(ofAlice)
		for _, subject := range []string{
			schemas.JobSubject(ofAlice),
			"job.interactive.bob." + x.sealed + ".embed.alice.r",    // her key
			"job.interactive.alice." + x.sealed + ".embed.bob.r",    // her tenant
			"job.interactive.bob." + other + ".embed.bob.r",         // a model without a grant
			"job.interactive.main." + x.sealed + ".embed.bob.r",     // the operator's tenant
			"job.interactive.bob." + x.sealed + ".purify.none.r",    // an operation without a grant
			"job.bulk.bob." + x.sealed + ".embed.bob.r",             // other classes
			"job.followup.bob." + x.sealed + ".recover.bob.r",       //
			"job.interactive.bob." + x.sealed + ".embed.bob.r.more", // a longer subject
			"result.alice.run", "result.bob.run", "score.alice.run", "score.bob.run", "score.main.run", blob, blob + ".0", "blob.main.x", "dead.bad_message",
			"$KV.TRIES.x", "worker.ping", "$JS.EVENT.ADVISORY.CONSUMER.CREATED.JOBS_INTERACTIVE.x", "_INBOX.x", "_R_.x",
		} {
			refused(subject, data, nil)
			must(t, bob.Publish(subject, data))
		}
		for _, ack := range []string{"+ACK", "-NAK", "+TERM", "+WPI", `+NXT {"batch":10}`} {
			must(t, bob.PublishRequest(inHand.Reply(), "_INBOX.mine", []byte(ack)))
			refused(inHand.Reply(), []byte(ack), nil)
		}
		unharmed("publishing")
		state, err := consumer.Info(t.Context())
		must(t, err)
		if state.NumAckPending != 1 {
			t.Errorf("the job in hand: %d pending", state.NumAckPending)
		}
	})

	t.Run("answers", func(t *testing.T) {
		// The server sends an answer to the subject that a request names. A tenant's blob is an answer of any content.
		contents := map[string][]byte{"job": encoded(job("alice", "alice", "confused")), "object": []byte("{}"), "empty": nil, "ack": []byte("+TERM")}
		sources := []string{schemas.TenantAPI + ".STREAM.INFO.BLOBS_bob", "blob.bob.x"}
		for name, data := range contents {
			m, err := bob.Request("blob.bob."+name, data, patience)
			must(t, err)
			if !bytes.Contains(m.Data, []byte(`"stream":"BLOBS_bob"`)) {
				t.Fatalf("bob's own blob was not stored: %s", m.Data)
			}
			sources = append(sources, schemas.TenantAPI+".DIRECT.GET.BLOBS_bob.blob.bob."+name)
		}
		targets := []string{
			schemas.JobSubject(job("alice", "alice", "confused")), "result.alice.confused", "result.bob.confused", "score.main.confused", blob, "dead.bad_message", "$KV.TRIES.x", inHand.Reply(), "stolen",
		}
		for _, api := range apiSubjects(t) {
			for _, stream := range streams {
				targets = append(targets, fill(api, stream, x.sealed, blob))
			}
		}
		for _, target := range targets {
			for _, source := range sources {
				must(t, bob.PublishRequest(source, target, nil))
			}
			must(t, bob.PublishRequest(schemas.TenantAPI+".STREAM.MSG.GET.BLOBS_bob", target, []byte(`{"last_by_subj":"blob.bob.job"}`)))
			must(t, bob.PublishMsg(&nats.Msg{Subject: "blob.bob.y", Header: nats.Header{"Nats-Trace-Dest": {target}}}))
		}
		// When these two are answered, most of the requests above are too.
		for subject, body := range map[string]string{"blob.bob.y": "", schemas.TenantAPI + ".STREAM.MSG.GET.BLOBS_bob": `{"last_by_subj":"blob.bob.job"}`} {
			if _, err := bob.Request(subject, []byte(body), patience); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d answers", len(targets)*(len(sources)+2))
		unharmed("answers elsewhere")
	})

	t.Run("listening", func(t *testing.T) {
		heard := make(chan *nats.Msg, 1000)
		for _, subject := range []string{">", "$SYS.>", "$JS.>", "_INBOX.>", "_R_.>", "result.alice.>", "blob.alice.>", "job.>", "dead.>", "score.>", "$KV.>", stolen[0], "stolen"} {
			if _, err := bob.ChanSubscribe(subject, heard); err != nil {
				t.Fatal(err)
			}
		}
		must(t, bob.Flush())
		x.embed("alice", "again.png").want(t, 0, "embed")
		x.recover("alice", "again.png", "again-secret.png").want(t, 0, "recover")
		must(t, bob.Flush())
		for len(heard) > 0 {
			m := <-heard
			if ofBobsStream(m) {
				continue // the server answers requests at once, in no order: one of those above may come here
			}
			t.Errorf("bob hears %s: %.200q", m.Subject, m.Data)
		}
	})

	t.Run("jobs that lie", func(t *testing.T) {
		js, err := jetstream.NewWithAPIPrefix(bob, schemas.TenantAPI, jetstream.WithDefaultTimeout(patience))
		must(t, err)
		subject := schemas.JobSubject(job("bob", "bob", "lies"))
		count := strings.Count(x.ok("dead", "list").stdout, "bad_message")
		for what, lie := range map[string]*schemas.Job{"another tenant": job("alice", "alice", "lies"), "another key": job("bob", "alice", "lies"), "the operator": job("", "bob", "lies")} {
			_, err := js.Publish(t.Context(), subject, encoded(lie))
			must(t, err)
			count++
			x.eventually("a dead letter for "+what, func(r result) bool { return strings.Count(r.stdout, "bad_message") == count }, "dead", "list")
		}
		// alice's fingerprint under bob's key id, and an image that only alice has.
		stolenKey := job("bob", "bob", "stolen")
		stolenKey.Key.Fingerprint = ref("alice").GetFingerprint()
		stolenKey.Id = schemas.JobID(stolenKey)
		_, err = js.Publish(t.Context(), schemas.JobSubject(stolenKey), encoded(stolenKey))
		must(t, err)
		x.eventually("a dead letter for her fingerprint", func(r result) bool { return strings.Contains(r.stdout, "key_mismatch") }, "dead", "list")

		stolenImage := job("bob", "bob", "image")
		stolenImage.Items[0].Secret = schemas.BlobRef(strings.Split(blob, ".")[2], "hers")
		stolenImage.Id = schemas.JobID(stolenImage)
		answers := make(chan *nats.Msg, 4)
		_, err = bob.ChanSubscribe("result.bob.image", answers)
		must(t, err)
		_, err = js.Publish(t.Context(), schemas.JobSubject(stolenImage), encoded(stolenImage))
		must(t, err)
		select {
		case m := <-answers:
			r, err := schemas.DecodeResult(m.Data)
			must(t, err)
			if f := r.GetOutcomes()[0].GetFailure(); f.GetReason() != string(schemas.ReasonMissingBlob) {
				t.Errorf("an image of alice's in a job of bob's: %v", r.GetOutcomes()[0])
			}
		case <-time.After(patience):
			t.Error("no result for a job of bob's")
		}
	})

	// alice's work is as it was.
	x.recover("alice", "stego.png", "after.png").want(t, 0, "recover")
	if !bytes.Equal(read(t, x.path("after.png")), read(t, x.path("secret.png"))) {
		t.Error("alice recovers another image than before")
	}
	_, err = nats.Connect("nats://"+x.addr, nats.UserInfo("alice", tenantPassword("bob")), nats.Timeout(patience))
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("bob's password for alice: %v", err)
	}
	if _, err := nats.Connect("nats://"+x.addr, nats.Timeout(patience)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("nobody: %v", err)
	}
}

// A worker without a key serves nothing with it, neither new work nor remembered outputs.
func TestRevokedKey(t *testing.T) {
	t.Parallel()
	x := startTenants(t)
	x.embed("alice", "stego.png").want(t, 0, "embed")
	x.recover("alice", "stego.png", "secret.png").want(t, 0, "recover")
	x.recover("bob", "stego.png", "bobs.png").want(t, 1, "recover alice's image as bob")

	// The operator's worker restarts with only bob's key. Users keep their keyrings.
	x.worker.terminate()
	x.ok("keys", "new", "bob2", "--keyring", "workers.json")
	x.startWorker("--keyring", "workers.json")
	for what, r := range map[string]result{
		"cached recovery":  x.recover("alice", "stego.png", "again.png"),
		"cached embedding": x.embed("alice", "stego-again.png"),
		"new embedding":    x.as("alice", "embed", "--key", "alice", "--cover", "photos/"+x.photo(1), "--secret", "photos/"+x.photo(0), "-o", "new.png"),
	} {
		if r.code != 1 || !strings.Contains(r.stderr, string(schemas.ReasonUnknownKey)) {
			t.Errorf("%s: exit code %d, %s", what, r.code, r.stderr)
		}
	}
	for _, file := range []string{"again.png", "stego-again.png", "new.png"} {
		if _, err := os.Stat(x.path(file)); err == nil {
			t.Errorf("%s was written", file)
		}
	}

	// With the key again, all is as before.
	x.worker.signal(syscall.SIGTERM)
	x.worker.end()
	x.startWorker()
	x.recover("alice", "stego.png", "again.png").want(t, 0, "recover")
	if !bytes.Equal(read(t, x.path("again.png")), read(t, x.path("secret.png"))) {
		t.Error("another image than before")
	}
}

// Revoked streams are gone, and a new grant starts empty.
func TestRevokedUser(t *testing.T) {
	t.Parallel()
	x := startTenants(t)
	x.embed("alice", "stego.png").want(t, 0, "embed")
	show := x.ok("access", "show", "alice")
	for _, w := range []string{"BLOBS_alice", "RESULTS_alice: 1 messages", "job.interactive.alice." + x.sealed + ".recover.alice.*"} {
		if !strings.Contains(show.stdout, w) {
			t.Errorf("access show does not say %q:\n%s", w, show.stdout)
		}
	}
	x.worker.signal(syscall.SIGTERM)
	x.worker.end()
	revoked := x.ok("access", "revoke", "alice")
	if !strings.Contains(revoked.stdout, "take the account alice out") {
		t.Errorf("access revoke: %s", revoked.stdout)
	}
	if r := x.run("access", "show", "alice"); r.code == 0 || !strings.Contains(r.stderr, "no such user") {
		t.Errorf("access show after revoke: exit code %d, %s", r.code, r.stderr)
	}
	if r := x.embed("alice", "more.png"); r.code == 0 || !strings.Contains(r.stderr, "access grant alice") {
		t.Errorf("embed after revoke: exit code %d, %s", r.code, r.stderr)
	}
	granted := x.ok("access", "grant", "alice", "--key", "alice", "--embed-only", "--nsc")
	if strings.Contains(granted.stdout, ".recover.") || !strings.Contains(granted.stdout, "nsc add import --account alice") {
		t.Errorf("access grant --embed-only --nsc:\n%s", granted.stdout)
	}
	for _, args := range [][]string{
		{"access", "grant", "Alice", "--key", "alice"}, {"access", "grant", "main", "--key", "alice"}, {"access", "grant", "alice", "--key", "a b"},
		{"access", "grant", "alice"}, {"access", "grant", "alice", "--key", "alice", "--model", "none"},
	} {
		if r := x.run(args...); r.code != 2 {
			t.Errorf("%q: exit code %d", args, r.code)
		}
	}
	h := newHome(t)
	if r := h.run("access", "grant", "alice", "--key", "alice", "--model", "tiny"); r.code != 2 || !strings.Contains(r.stderr, "tenants.conf") {
		t.Errorf("on an embedded server: exit code %d, %s", r.code, r.stderr)
	}
}
