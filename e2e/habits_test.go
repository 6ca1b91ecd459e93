package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Conventions of the command line: unknown commands, JSON for programs, timeouts, completion, names for servers, and dry runs.

func TestUnknownCommands(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.run("evaluat").wantError(t, 2, `unknown command "evaluat"`, "evaluate")
	h.run("keys", "delet").wantError(t, 2, `unknown command "delet" for "stegomq keys"`, "did you mean delete?")
	h.run("runs", "lst").wantError(t, 2, "did you mean list?")
	h.run("context", "nothing-like-it").wantError(t, 2, "stegomq context --help")
	h.run("evaluate", "--dta", "x").wantError(t, 2, "unknown flag: --dta")
	if out := h.ok("keys").stdout; !strings.Contains(out, "export") {
		t.Errorf("a group of commands says:\n%s", out)
	}
}

// values reads a stream of JSON, as jq does, and gives how many values there are.
func values(t *testing.T, text string) []any {
	t.Helper()
	var all []any
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var v any
		err := d.Decode(&v)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		all = append(all, v)
	}
}

// Commands that print a table print JSON too, and even a debug log does not mix with it.
func TestJSON(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 48, 48)
	h.ok("keys", "new", "alice")
	h.ok("users", "add", "alice", "--key", "alice")
	h.ok("context", "add", "lab", "--state", "lab")
	h.ok("evaluate", "--data", "photos", "--size", "32", "--run", "first", "--out", "one")
	h.ok("evaluate", "--data", "photos", "--size", "32", "--keys", "demo-1", "--run", "second", "--out", "two")
	for _, c := range []struct {
		args, has string
	}{
		{"keys list", "fingerprint"}, {"keys show alice", "alice"}, {"models list", "tiny"}, {"runs list", "first"}, {"runs show first", "finished"},
		{"watch second", "finished"}, {"report", "second"}, {"report first", "recoverability"}, {"report table one two", "recoverability"},
		{"report compare one two", "verdict"}, {"doctor", "all is well"}, {"version", programVersion}, {"users list", "alice"},
		{"context list", "lab"}, {"evaluate --data photos --size 32 --out three", "recoverability"}, {"evaluate --data photos --size 32 --dry-run", "missing"},
		{"dead list", "[]"},
	} {
		r := h.ok(append(strings.Fields(c.args), "--json", "--log-level", "debug")...)
		if got := values(t, r.stdout); len(got) != 1 || !strings.Contains(r.stdout, c.has) {
			t.Errorf("%s --json gives %d values, and %q should be in them:\n%s", c.args, len(got), c.has, r.stdout)
		}
	}
	r := h.ok("bench", "--operation", "no-op", "--requests", "5", "--warm-up", "0s", "--json", "-", "--log-level", "debug")
	if got := values(t, r.stdout); len(got) != 1 || !strings.Contains(r.stdout, "latency") {
		t.Errorf("bench --json - gives %d values:\n%s", len(got), r.stdout)
	}
}

// tail --json has an object a line, of which subject and message are read.
func TestTailJSON(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 48, 48)
	up := h.start("up", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
	up.await("(?m)^ready")
	tail := h.start("tail", "--json")
	seen := func(result) bool { return strings.Contains(tail.log.String(), `"subject":"result.main.`) }
	h.eventually("a result", seen, "embed", "--key", "demo-1", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "stego.png")
	tail.signal(os.Interrupt)
	if code := tail.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(tail.log.String()) {
		var passed struct {
			Subject string
			Message map[string]any
		}
		if err := json.Unmarshal([]byte(line), &passed); err != nil || passed.Subject == "" || len(passed.Message) == 0 {
			t.Errorf("%v in %q", err, line)
		}
	}
	// It ends by itself, too, and that is no fault.
	if r := h.ok("tail", "--json", "--timeout", "1s"); r.stdout != "" {
		t.Errorf("nothing was sent, and tail prints %q", r.stdout)
	}
}

// A run without workers ends at its timeout, and takes its jobs back.
func TestTimeout(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 48, 48)
	flags := servers(t)
	with := func(args ...string) []string { return append(args, flags...) }
	h.run(with("evaluate", "--data", "photos", "--size", "32", "--run", "late", "--timeout", "2s")...).wantError(t, 124, "--timeout", "resumes")
	r := h.run(with("embed", "--key", "demo-1", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "s.png", "--timeout", "1s")...)
	r.wantError(t, 124, "--timeout")
	if strings.Contains(r.stderr, "resumes") {
		t.Errorf("one request has nothing to resume: %s", r.stderr)
	}
	h.run("evaluate", "--data", "photos", "--timeout", "-1s").wantError(t, 2, "--timeout -1s")
	var rows []struct {
		Run     string
		Waiting int
	}
	if err := json.Unmarshal([]byte(h.ok(with("runs", "list", "--json")...).stdout), &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows { // it may have been too late to be written down
		if row.Run == "late" && row.Waiting != 0 {
			t.Errorf("%d messages of the run wait", row.Waiting)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 48, 48)
	h.photographs("bad", 2, 48, 48)
	h.write("bad/02.png", []byte("no image"))
	flags := servers(t)
	with := func(args ...string) []string { return append(args, flags...) }
	h.run(with("watch", "nobody")...).wantError(t, 2, "nobody")

	h.ok(with("producer", "--data", "photos", "--size", "32", "--run", "good")...)
	h.run(with("watch", "good", "--timeout", "1s")...).wantError(t, 124, "--timeout")
	good := h.start(with("watch", "good")...)
	h.run(with("producer", "--data", "bad", "--size", "32", "--run", "bad")...).wantError(t, 1, "could not be used")
	bad := h.start(with("watch", "bad", "--json")...)
	h.ok(with("producer", "--data", "photos", "--size", "24", "--run", "cancelled")...)
	cancelled := h.start(with("watch", "cancelled")...)
	h.ok(with("runs", "cancel", "cancelled")...)
	if code := cancelled.end(); code != 1 || !strings.Contains(cancelled.log.String(), "the run was cancelled") {
		t.Errorf("a run that was cancelled: exit code %d\n%s", code, cancelled.log)
	}

	h.start(with("gpuworker")...).await("(?m)^ready$")
	h.start(with("evaluator")...).await("(?m)^ready$")
	if code := good.end(); code != 0 || !strings.Contains(good.log.String(), "good") {
		t.Errorf("exit code %d\n%s", code, good.log)
	}
	if code := bad.end(); code != 1 || !strings.Contains(bad.log.String(), "files that could not be used: 1") {
		t.Errorf("a run with a bad file: exit code %d\n%s", code, bad.log)
	}
	h.ok(with("watch", "good")...) // which has ended
}

// The reader of the output may close it, as head does: finished work stays.
func TestReaderGoes(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 48, 48)
	read, write, err := os.Pipe()
	must(t, err)
	must(t, read.Close())
	cmd := h.command(t.Context(), "evaluate", "--data", "photos", "--size", "32", "--run", "read", "--out", "out")
	cmd.Stdout = write
	err = cmd.Run()
	must(t, write.Close())
	if code := cmd.ProcessState.ExitCode(); code != 141 {
		t.Errorf("exit code %d, %v", code, err)
	}
	if out := h.ok("runs", "list").stdout; !strings.Contains(out, "read") || !strings.Contains(out, "finished") {
		t.Errorf("the run is lost:\n%s", out)
	}
}

func TestKeysLeaveTheKeyring(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	const ring = "config/stegomq/keyring.json"
	for _, id := range []string{"alice", "bob", "carol"} {
		h.ok("keys", "new", id)
	}
	before := h.secrets(ring)
	r := h.ok("keys", "export", "alice", "carol", "-o", "copy.json")
	if info, err := os.Stat(h.path("copy.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	copied := h.secrets("copy.json")
	if len(copied) != 4 || !slices.Equal(copied[:2], before[:2]) || !slices.Equal(copied[2:], before[4:]) {
		t.Error("the copy does not have the keys of alice and carol")
	}
	for _, secret := range before {
		if strings.Contains(r.stdout+r.stderr, secret) {
			t.Error("a key was told")
		}
	}
	h.run("keys", "export", "alice", "-o", "copy.json").wantError(t, 2, "copy.json", "there already")
	h.run("keys", "export", "nobody", "-o", "none.json").wantError(t, 2, "nobody")
	if _, err := os.Stat(h.path("none.json")); err == nil {
		t.Error("an export that failed made a file")
	}
	h.run("keys", "delete", "alice").wantError(t, 2, "--yes", "keys export")
	h.run("keys", "delete", "alice", "nobody", "--yes").wantError(t, 2, "nobody")
	if got := h.secrets(ring); !slices.Equal(got, before) {
		t.Error("a deletion that failed deleted")
	}
	h.ok("keys", "delete", "alice", "carol", "--yes")
	if got := h.secrets(ring); !slices.Equal(got, before[2:4]) {
		t.Error("what is left is not bob's")
	}
	h.ok("keys", "import", "copy.json")
	if got := h.secrets(ring); !slices.Equal(got, before) {
		t.Error("the copy did not bring the keys back")
	}
	// An encrypted keyring is copied encrypted.
	h.env = append(h.env, "STEGOMQ_KEYRING_PASSPHRASE=correct horse battery staple")
	const dave = "dave-1" // with what base64 does not have
	h.ok("keys", "new", dave, "--keyring", "locked.json")
	h.ok("keys", "export", dave, "-o", "locked-copy.json", "--keyring", "locked.json")
	if data := string(read(t, h.path("locked-copy.json"))); !strings.Contains(data, "age-encryption.org") || strings.Contains(data, dave) {
		t.Errorf("the copy of an encrypted keyring is not: %.60s", data)
	}
}

func TestKeysByTheirIDs(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 48, 48)
	h.ok("keys", "new", "alice")
	keys := func(given string) string {
		t.Helper()
		return fmt.Sprint(strictSummary(t, []byte(h.ok("evaluate", "--data", "photos", "--size", "32", "--keys", given, "--json").stdout)).Keys)
	}
	for given, want := range map[string]string{"demo-2": "[demo-2]", "demo-2,demo-1": "[demo-2 demo-1]", "1": "[demo-1]", "demo-1,alice": "[demo-1 alice]"} {
		if got := keys(given); got != want {
			t.Errorf("--keys %s gives %s, not %s", given, got, want)
		}
	}
	h.ok("keys", "export", "alice", "-o", "alice")
	if got := keys("alice"); got != "[alice]" { // the file
		t.Errorf("--keys alice gives %s", got)
	}
	h.run("evaluate", "--data", "photos", "--keys", "demo-1,demo-9").wantError(t, 2, "demo-9", "alice, demo-1, demo-2", "keys new")
	h.run("evaluate", "--data", "photos", "--keys", "demo-1,demo-1").wantError(t, 2, "demo-1 is there twice")
	h.run("evaluate", "--data", "photos", "--keys", "random-1-1").wantError(t, 2, "random-1-1")
	h.run("evaluate", "--data", "photos", "--keys", "nowhere.json").wantError(t, 2, "nowhere.json", "no keyring file")
	h.run("evaluate", "--data", "photos", "--keys", "7").wantError(t, 2, "demo keys")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 48, 48)
	words := func(args ...string) string {
		t.Helper()
		out := h.ok(append([]string{"__complete"}, args...)...).stdout
		all, _, _ := strings.Cut(out, ":")
		return strings.Join(strings.Fields(all), " ")
	}
	before := h.tree()
	if got := words("watch", ""); got != "" {
		t.Errorf("without a run: %q", got)
	}
	h.wantUnchanged(before, "completion")
	h.ok("keys", "new", "alice")
	h.ok("context", "add", "lab", "--state", "lab")
	h.ok("evaluate", "--data", "photos", "--size", "32", "--run", "first", "--out", "one")
	for _, c := range [][2]string{
		{"watch f", "first"}, {"runs show f", "first"}, {"report f", "first"}, {"report compare first s", ""}, {"watch x", ""},
		{"embed --key a", "alice"}, {"embed --key d", "demo-1 demo-2"}, {"keys show a", "alice"}, {"keys delete d", ""},
		{"evaluate --model t", "tiny"}, {"models verify t", "tiny"}, {"context use l", "lab"}, {"doctor --context l", "lab"},
	} {
		if got := words(strings.Fields(c[0])...); got != c[1] {
			t.Errorf("%s completes to %q, not %q", c[0], got, c[1])
		}
	}
}

func TestContexts(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	const file = "config/stegomq/contexts.json"
	up := h.start("up", "--state", "one", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
	ready := up.await(`ready: --nats (\S+) --redis (\S+)`)
	other := servers(t)
	where := func(args ...string) string {
		t.Helper()
		out := h.ok(append([]string{"doctor"}, args...)...).stdout
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "nats ") {
				return line
			}
		}
		t.Fatalf("doctor does not say where NATS is:\n%s", out)
		return ""
	}
	is := func(what, line, address string) {
		t.Helper()
		if !strings.Contains(line, address) {
			t.Errorf("%s: doctor looks at %s, not at %s", what, line, address)
		}
	}
	h.ok("context", "add", "one", "--state", "one")
	h.ok(append([]string{"context", "add", "two", "--use"}, other...)...)
	if info, err := os.Stat(h.path(file)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	h.run("context", "add", "two", "--state", "one").wantError(t, 2, "there is already", "context remove two")
	h.run("context", "add", "three").wantError(t, 2, "no server is named")
	h.run("context", "add", "a b", "--state", "one").wantError(t, 2, "a b")
	h.run("context", "use", "four").wantError(t, 2, `"four"`, "one, two")
	h.run("context", "use").wantError(t, 2, "--none")

	// The streams are made by who first uses them; doctor makes none.
	h.ok("dead", "list")
	is("in use", where(), other[1])
	is("by name", where("--context", "one"), ready[1])
	is("a server that is named", where("--nats", ready[1], "--redis", ready[2], "--state", "one"), ready[1])
	h.run("doctor", "--context", "one", "--nats", other[1]).wantError(t, 2, "--context and --nats")
	h.run("doctor", "--context", "four").wantError(t, 2, `"four"`)
	// Servers come entirely from the environment or entirely from a context.
	h.env = append(h.env, "STEGOMQ_NATS="+ready[1], "STEGOMQ_REDIS="+ready[2], "STEGOMQ_STATE="+h.path("one"))
	is("the environment", where(), ready[1])
	is("a name beside the environment", where("--context", "two"), other[1])
	h.env = append(h.env, "STEGOMQ_CONTEXT=two")
	is("a name in the environment", where(), other[1])
	h.env = h.env[:len(h.env)-4]

	h.ok("context", "use", "one")
	is("in use now", where(), ready[1])
	h.ok("context", "use", "--none")
	is("none", where(), "embedded")
	h.ok("context", "remove", "one")
	h.run("context", "remove", "one").wantError(t, 2, `"one"`)

	// Passwords are kept, and not told.
	h.env = append(h.env, "STEGOMQ_NATS=nats://user:hunter2@127.0.0.1:1", "STEGOMQ_REDIS=redis://:hunter3@127.0.0.1:1")
	h.ok("context", "add", "secret")
	h.env = h.env[:len(h.env)-2]
	if text := string(read(t, h.path(file))); !strings.Contains(text, "hunter2") || !strings.Contains(text, "hunter3") {
		t.Errorf("the file is\n%s", text)
	}
	if out := h.ok("context", "list").stdout + h.ok("context", "list", "--json").stdout; strings.Contains(out, "hunter") || !strings.Contains(out, "nats://127.0.0.1:1") {
		t.Errorf("the list is\n%s", out)
	}
	h.run("runs", "list", "--context", "secret").wantError(t, 3, "Redis")
	must(t, os.Chmod(h.path(file), 0o644))
	h.run("doctor", "--context", "secret").wantError(t, 2, "chmod 600")
}

// A dry run predicts the run, and does nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 6, 48, 48)
	type forecast struct {
		Run                                                        string
		Pairs, Keys, Jobs, Comparisons, Found, Missing, Bad, Bytes int
		FollowUps                                                  int `json:"follow_ups"`
		Seconds                                                    *float64
		From                                                       string
	}
	ask := func(args ...string) (f forecast) {
		t.Helper()
		must(t, json.Unmarshal([]byte(h.ok(append([]string{"evaluate", "--data", "photos", "--size", "32", "--batch", "2", "--dry-run", "--json"}, args...)...).stdout), &f))
		return f
	}
	before := h.tree()
	f := ask()
	h.wantUnchanged(before, "evaluate --dry-run")
	size := 0
	for i := range 6 {
		for _, ext := range []string{"jpg", "png"} {
			if info, err := os.Stat(h.path("photos", fmt.Sprintf("%02d.%s", i, ext))); err == nil {
				size += int(info.Size())
			}
		}
	}
	// Two keys embed two jobs each, which two keys and a random one decode; two jobs purify.
	if f.Pairs != 3 || f.Keys != 2 || f.Jobs != 6 || f.FollowUps != 12 || f.Found != 0 || f.Missing != f.Comparisons || f.Bytes != size || f.Seconds != nil || !strings.Contains(f.From, "no run of tiny at 32x32") {
		t.Errorf("%+v; the files have %d bytes", f, size)
	}
	sum := strictSummary(t, []byte(h.ok("evaluate", "--data", "photos", "--size", "32", "--batch", "2", "--json").stdout))
	if sum.Run != f.Run || sum.Cache.Misses != f.Missing {
		t.Errorf("the run %s made %d comparisons, not %+v", sum.Run, sum.Cache.Misses, f)
	}
	remembered := read(t, h.path("state", "stegomq", "redis", "cache.snapshot"))
	if f = ask(); f.Found != f.Comparisons || f.Jobs != 0 || f.Seconds == nil || *f.Seconds != 0 {
		t.Errorf("what was done: %+v", f)
	}
	if f = ask("--random-keys", "2"); f.Found == 0 || f.Missing == 0 || f.Seconds == nil || *f.Seconds <= 0 || !strings.Contains(f.From, sum.Run) {
		t.Errorf("what was done in part: %+v", f)
	}
	if !bytes.Equal(read(t, h.path("state", "stegomq", "redis", "cache.snapshot")), remembered) {
		t.Error("evaluate --dry-run changed what is in the cache")
	}
	if out := h.ok("evaluate", "--data", "photos", "--size", "40", "--dry-run").stdout; !strings.Contains(out, "not known") || !strings.Contains(out, "3 pairs") {
		t.Errorf("in words:\n%s", out)
	}
	h.run("evaluate", "--data", "nowhere", "--dry-run").wantError(t, 2, "nowhere")
	// On servers of one's own, too.
	flags := servers(t)
	if f = ask(flags...); f.Jobs != 6 || f.Found != 0 {
		t.Errorf("on other servers: %+v", f)
	}
	if out := h.ok(append([]string{"runs", "list", "--json"}, flags...)...).stdout; strings.TrimSpace(out) != "[]" {
		t.Errorf("a dry run is a run: %s", out)
	}
}

// The same holds for commands that make several runs.
func TestDryRunOfReports(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 48, 48)
	study := h.study("study.json", map[string]string{"PUSNet-MK": filepath.Join(tinyModels(), "tiny"), "UDH": "nosuch"}, "")
	type forecast struct {
		Runs []struct {
			Model                string
			Pairs, Missing, Jobs int
		}
		Comparisons, Found, Missing int
		Seconds                     *float64
		Lacking                     []string
	}
	ask := func(args ...string) (f forecast) {
		t.Helper()
		must(t, json.Unmarshal([]byte(h.ok(append(args, "--dry-run", "--json")...).stdout), &f))
		return f
	}
	paper := []string{"paper", "--data", "Mine=photos", "--study", study, "--size", "32", "--out", "report"}
	audit := []string{"audit", "--data", "photos", "--size", "32", "--random-keys", "3", "--near-keys", "2", "--out", "audit"}
	before := h.tree()
	f := ask(paper...)
	if len(f.Runs) != 1 || f.Runs[0].Model != "tiny" || f.Runs[0].Pairs != 2 || f.Missing == 0 || f.Missing != f.Comparisons || f.Seconds != nil || len(f.Lacking) != 1 || !strings.Contains(f.Lacking[0], "nosuch") {
		t.Errorf("paper: %+v", f)
	}
	tried := ask(audit...)
	if len(tried.Runs) != 3 || tried.Runs[0].Missing == 0 || tried.Runs[1].Missing == 0 || tried.Runs[2].Missing == 0 {
		t.Errorf("audit: %+v", tried)
	}
	h.wantUnchanged(before, "--dry-run")

	var made struct {
		Made    int
		Report  string
		Missing []string
	}
	r := h.run(append(paper, "--json")...)
	r.want(t, 1)
	must(t, json.Unmarshal([]byte(r.stdout), &made))
	if made.Made != f.Missing || len(made.Missing) != 1 || made.Report != filepath.Join("report", "report.html") {
		t.Errorf("paper made %+v of %+v", made, f)
	}
	if f = ask(paper...); f.Missing != 0 || f.Found != f.Comparisons || f.Seconds == nil || *f.Seconds != 0 {
		t.Errorf("what was done: %+v", f)
	}
	// The audit knows the work that the paper did with the model, and how long it took.
	if again := ask(audit...); again.Missing >= tried.Missing || again.Seconds == nil || *again.Seconds <= 0 {
		t.Errorf("audit after paper: %+v, before %+v", again, tried)
	}
	if out := h.ok(append(audit, "--dry-run")...).stdout; !strings.Contains(out, "comparisons a second") || !strings.Contains(out, "│ all") {
		t.Errorf("in words:\n%s", out)
	}
}
