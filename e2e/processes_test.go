package e2e

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// handled are the ids of the jobs that a worker says it has taken in hand, or settled.
func handled(p *process, word string) map[string]bool {
	ids := make(map[string]bool)
	for _, found := range regexp.MustCompile(`msg="job `+word+`" id=(\S+)`).FindAllStringSubmatch(p.log.String(), -1) {
		ids[found[1]] = true
	}
	return ids
}

// abandoned are the jobs that a worker has begun but not settled.
func abandoned(p *process) map[string]bool {
	left := handled(p, "in hand")
	for id := range handled(p, "settled") {
		delete(left, id)
	}
	return left
}

// killWithJobInHand kills a worker in the middle of a job. The worker is paused first, so that it cannot finish
// the job between the check and the kill.
func killWithJobInHand(p *process) {
	p.t.Helper()
	for n := 1; ; n++ {
		p.await(fmt.Sprintf(`(?s)(msg="job in hand".*){%d}`, n))
		p.pause()
		if len(abandoned(p)) > 0 {
			break
		}
		p.signal(syscall.SIGCONT)
	}
	p.signal(os.Kill)
	p.end()
}

// The roles run as processes on real servers, and a worker dies in the middle of a job. The scores are those of a
// run in one process, each of them once.
func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 8, 300, 200)
	run := []string{"evaluate", "--data", "photos", "--keys", "2", "--size", "160", "--batch", "2"}
	h.ok(append(run, "--out", "embedded")...)

	flags := servers(t)
	role := func(args ...string) *process {
		return h.start(append(append(args, "--log-level", "debug", "--ack-wait", "2s"), flags...)...)
	}
	role("evaluator").await("(?m)^ready$")
	victim, survivor := role("gpuworker", "--slots", "1"), role("gpuworker", "--slots", "1")
	victim.await("(?m)^ready$")
	survivor.await("(?m)^ready$")

	evaluation := h.start(append(append(run, "--out", "separate"), flags...)...)
	killWithJobInHand(victim)
	if code := evaluation.end(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, evaluation.log)
	}

	if !bytes.Equal(read(t, h.path("embedded", "items.csv")), read(t, h.path("separate", "items.csv"))) {
		t.Error("items.csv differs from that of the embedded run")
	}
	sum, items := h.summary("separate"), h.items("separate")
	wantCounts(t, sum, items, 4, 2, 1, 0)
	if sum.Cache.Hits != 0 {
		t.Errorf("cache %+v", sum.Cache)
	}
	// The killed worker left a job in the middle, and the other one does it: after the end of the run, if the result was sent and only the
	// acknowledgement was not.
	left := abandoned(victim)
	if len(left) != 1 {
		t.Errorf("the killed worker had %d jobs in hand", len(left))
	}
	for id := range left {
		survivor.await(`msg="job settled" id=` + regexp.QuoteMeta(id) + ` `)
	}
	// In Redis there is one score for each comparison and nothing failed.
	rdb := redisClient(t, flags[3])
	if n, err := rdb.HLen(t.Context(), "stegomq:run:v2:{"+sum.Run+"}:scores").Result(); err != nil || int(n) != len(items) {
		keys, _ := rdb.Keys(t.Context(), "*").Result()
		t.Errorf("Redis has %d scores, %v, want %d; its keys are %v", n, err, len(items), keys)
	}

	// Roles that are asked to stop are done.
	survivor.terminate()
}

func redisClient(t *testing.T, url string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: strings.TrimPrefix(url, "unix://"), DialTimeout: patience, ReadTimeout: patience})
	t.Cleanup(func() { _ = client.Close() })
	return client
}
