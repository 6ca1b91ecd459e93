package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// eventually runs the program again and again until its result is right.
func (h *home) eventually(what string, right func(result) bool, args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	for {
		r := h.run(args...)
		if right(r) {
			return r
		}
		if ctx.Err() != nil {
			h.t.Fatalf("%s did not come about; at last, exit code %d\n%s\n%s", what, r.code, r.stdout, r.stderr)
		}
	}
}

// A producer names a key that the worker does not have. The job becomes a dead letter, is shown, and is retried
// by a worker that has the key; then the run is complete. An unwanted letter is dropped.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 64, 48)
	h.ok("keys", "new", "carol", "--keyring", "carol.json")
	run := []string{"--data", "photos", "--keys", "carol.json", "--size", "32"}
	h.ok(append([]string{"evaluate", "--out", "whole", "--state", h.path("alone")}, run...)...)

	nats, redis := startNATS(t), startRedis(t)
	both := []string{"--nats", nats, "--redis", redis}
	h.start(append([]string{"evaluator"}, both...)...).await("(?m)^ready$")
	worker := h.start(append([]string{"gpuworker", "--unserved-after", "1s", "--log-level", "debug"}, both...)...)
	worker.await("(?m)^ready$")
	id := strings.TrimSpace(h.ok(append(append([]string{"producer"}, run...), both...)...).stdout)

	report := []string{"report", id, "--redis", redis, "--json"}
	failed := h.eventually("a failure in the report", func(r result) bool { return r.code == 1 }, report...)
	sum := strictSummary(t, []byte(failed.stdout))
	if len(sum.FailedItems) == 0 || !strings.Contains(sum.FailedItems[0].Reason, "unknown_key") || !strings.Contains(sum.FailedItems[0].Reason, "carol") {
		t.Errorf("failed items: %+v", sum.FailedItems)
	}
	list := h.ok("dead", "list", "--nats", nats).stdout
	rows := regexp.MustCompile(`(?m)^\W*(\d+)\W.*unknown_key.*job\.bulk\.\S*carol`).FindAllStringSubmatch(list, -1)
	if len(rows) != 1 {
		t.Fatalf("one dead letter was expected:\n%s", list)
	}
	number := rows[0][1]
	if other := h.ok("dead", "list", "--nats", nats, "--reason", "bad_image").stdout; strings.Contains(other, "carol") {
		t.Errorf("dead letters with another reason:\n%s", other)
	}
	dec := json.NewDecoder(strings.NewReader(h.ok("dead", "show", number, "--nats", nats).stdout))
	var letter, job map[string]any
	must(t, dec.Decode(&letter))
	must(t, dec.Decode(&job))
	if letter["reason"] != "unknown_key" || job["run"] != id {
		t.Errorf("letter %v, job %v", letter, job)
	}
	before := h.tree()
	for _, args := range [][]string{{"dead", "show", "99"}, {"dead", "drop", "99"}, {"dead", "retry", "99"}, {"dead", "retry", "x"}} {
		r := h.run(append(args, "--nats", nats)...)
		r.want(t, 2, args...)
		if !strings.Contains(r.stderr, args[2]) {
			t.Errorf("%v: %s", args, r.stderr)
		}
	}
	h.wantUnchanged(before, "dead")

	worker.terminate()
	h.start(append([]string{"gpuworker", "--unserved-after", "1s", "--keyring", "carol.json"}, both...)...).await("(?m)^ready$")
	if r := h.ok("dead", "retry", "--run", "another", "--nats", nats); !strings.Contains(r.stdout, "0 dead letters") {
		t.Errorf("dead letters of another run: %s", r.stdout)
	}
	var listed []struct{ Number int }
	must(t, json.Unmarshal([]byte(h.ok("dead", "list", "--run", id, "--json", "--nats", nats).stdout), &listed))
	if len(listed) != 1 || strconv.Itoa(listed[0].Number) != number {
		t.Errorf("dead letters of run %s: %v", id, listed)
	}
	h.ok("dead", "retry", "--run", id, "--nats", nats)
	whole := len(h.items("whole"))
	h.eventually("the whole run", func(r result) bool {
		return r.code == 0 && strictSummary(t, []byte(r.stdout)).Cache.Hits == whole
	}, append(report, "--out", "retried")...)
	if !bytes.Equal(read(t, h.path("whole", "items.csv")), read(t, h.path("retried", "items.csv"))) {
		t.Error("the scores are not those of a run whose keys were known from the start")
	}
	if list := h.ok("dead", "list", "--nats", nats).stdout; strings.Contains(list, "carol") {
		t.Errorf("the letter is still there:\n%s", list)
	}

	// Another one, that nobody wants.
	h.ok("keys", "new", "dave", "--keyring", "dave.json")
	h.ok(append([]string{"producer", "--data", "photos", "--keys", "dave.json", "--size", "32"}, both...)...)
	dead := h.eventually("a dead letter", func(r result) bool { return strings.Contains(r.stdout, "dave") }, "dead", "list", "--nats", nats)
	number = regexp.MustCompile(`(?m)^\W*(\d+)\W.*dave`).FindStringSubmatch(dead.stdout)[1]
	h.ok("dead", "drop", number, "--nats", nats)
	h.ok("dead", "drop", "--all", "--nats", nats)
	if list := h.ok("dead", "list", "--nats", nats).stdout; strings.Contains(list, "dave") {
		t.Errorf("the letter is still there:\n%s", list)
	}
}

// Adding the missing key and repeating the same command repairs an evaluation as well.
func TestEvaluateAgainAfterFailures(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 64, 48)
	h.ok("keys", "new", "carol", "--keyring", "carol.json")
	both := servers(t)
	h.start(append([]string{"evaluator"}, both...)...).await("(?m)^ready$")
	worker := h.start(append([]string{"gpuworker", "--unserved-after", "1s"}, both...)...)
	worker.await("(?m)^ready$")
	evaluate := append([]string{"evaluate", "--data", "photos", "--keys", "carol.json", "--size", "32", "--out", "out"}, both...)
	r := h.run(evaluate...)
	r.want(t, 1, evaluate...)
	if sum := h.summary("out"); len(sum.FailedItems) == 0 || !strings.Contains(sum.FailedItems[0].Reason, "unknown_key") {
		t.Errorf("failed items: %+v", sum.FailedItems)
	}
	worker.signal(syscall.SIGTERM)
	worker.end()
	h.start(append([]string{"gpuworker", "--unserved-after", "1s", "--keyring", "carol.json"}, both...)...).await("(?m)^ready$")
	h.ok(evaluate...)
	wantCounts(t, h.summary("out"), h.items("out"), 2, 1, 1, 0)
}
