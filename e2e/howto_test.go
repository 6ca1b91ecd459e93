//go:build !race

// The documents' commands do not test concurrency, and a cold process under the race detector takes many times as long.

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/testrig/certificates"
)

// with replaces what a reader has to replace.
func with(typed []string, pairs ...string) []string {
	replacer := strings.NewReplacer(pairs...)
	replaced := slices.Clone(typed)
	for i, line := range typed {
		replaced[i] = replacer.Replace(line)
	}
	return replaced
}

// serves starts what a line of a document starts, whatever the ports.
func (h *home) serves(line string) *process {
	h.t.Helper()
	words := strings.Fields(strings.ReplaceAll(line, "127.0.0.1:8080", "127.0.0.1:0"))
	if words[0] != "stegomq" {
		h.t.Fatalf("%s starts no service", line)
	}
	p := h.start(words[1:]...)
	p.await(`(?m)^ready`)
	return p
}

// exports reads lines of the form `export NAME=VALUE NAME=VALUE`.
func (h *home) exports(line string) {
	h.t.Helper()
	values, found := strings.CutPrefix(line, "export ")
	if !found {
		h.t.Fatalf("%s sets no variable", line)
	}
	h.env = append(h.env, strings.Fields(values)...)
}

// tokenOf runs a line that prints a token.
func (h *home) tokenOf(line string) string {
	h.t.Helper()
	words := strings.Fields(line)
	return strings.TrimSpace(h.ok(words[1:]...).stdout)
}

func TestHowToEvaluate(t *testing.T) {
	t.Parallel()
	h := newReader(t)
	const document = "docs/evaluate.md"
	typed := blockOf(t, document, "# Evaluate a method over a data set")
	h.does(typed)
	h.does(with(typed, "results/", "again/", "--keys 4", "--keys 2"))
	h.does(with(blockOf(t, document, "## Compare two runs"), "RUN_A", "results", "RUN_B", "again"))
	h.does(with(blockOf(t, document, "## Repeat the paper's evaluation"), "DIR", "photos", "--size 256", "--size 64"))
	h.has("results/summary.json", "results/report.html", "results/images", "report/report.html")
}

func TestHowToAudit(t *testing.T) {
	t.Parallel()
	h := newReader(t, "STEGOMQ_RANDOM_KEYS=5", "STEGOMQ_NEAR_KEYS=2")
	h.does(with(blockOf(t, "docs/audit.md", "# Auditing a model"), "PHOTOGRAPHS", "photos", "--size 128", "--size 64"))
	h.has("out/audit/audit.md", "out/audit/audit.json", "out/audit/runs")
}

// One machine: the servers of up, over the queue and over HTTP.
func TestHowToServe(t *testing.T) {
	t.Parallel()
	h := newReader(t, append(anyPorts(), "STEGOMQ_REQUESTS=10")...)
	h.ok("keys", "new", "alice")
	const document = "docs/serve.md"
	typed := blockOf(t, document, "## On one machine")
	up := h.serves(typed[0])
	h.does(typed[1:])
	h.ok("evaluate", "--data", "photos", "--model", "sealed", "--keys", "alice", "--size", "64", "--out", "out")
	var summary struct{ Run string }
	must(t, json.Unmarshal(read(t, h.path("out", "summary.json")), &summary))
	h.does(with(blockOf(t, document, "## When something goes wrong"), "RUN", summary.Run))
	h.does(blockOf(t, document, "## Measure it"))
	up.terminate()

	typed = blockOf(t, document, "## Over HTTP")
	up = h.serves(typed[0])
	url := up.await(`HTTP at http://(\S+)`)[1]
	h.does(with(typed[2:], "$TOKEN", h.tokenOf(typed[1]), "127.0.0.1:8080", url))
	h.wantPNG("stego.png", 1024, 750)
	up.terminate()
}

func TestHowToUseHTTP(t *testing.T) {
	t.Parallel()
	h := newReader(t, anyPorts()...)
	h.ok("keys", "new", "alice")
	up := h.serves(blockOf(t, "docs/page.md", "# The web page")[0])
	url := up.await(`HTTP at http://(\S+)`)[1]
	typed := blockOf(t, "docs/http.md", "# The HTTP API")
	h.does(with(typed[1:], "$TOKEN", h.tokenOf(typed[0]), "127.0.0.1:8080", url))
	h.wantPNG("stego.png", 1024, 750)
	h.wantPNG("secret.png", 1024, 750)
	h.ok("users", "revoke", "alice")
	up.terminate()

	typed = blockOf(t, "docs/http.md", "## Runs")
	up = h.serves(with(typed[:1], "/data/photos", "photos", "/data/coco/val2017", "photos")[0])
	url = up.await(`HTTP at http://(\S+)`)[1]
	asked := with(typed[2:], "$TOKEN", h.tokenOf(typed[1]), "127.0.0.1:8080", url)
	for _, line := range asked {
		out, err := h.shell(line + " --silent --show-error --fail-with-body")
		if err != nil || !strings.Contains(out, `"id"`) {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	up.terminate()
}

// Several machines: servers with TLS and passwords, roles that have these from the environment, and a user with an account.
func TestHowToServeElsewhere(t *testing.T) {
	t.Parallel()
	h := newReader(t, "STEGOMQ_LIMIT=1", "STEGOMQ_SIZE=64")
	authority := certificates.New(t, "ca")
	authority.Server("server")
	h.write("ca.pem", read(t, authority.File("ca.pem")))
	serverAt, redisAt := startTLSServers(t, authority)
	here := func(typed []string) []string {
		return with(typed, "stegomq:PASSWORD", "stegomq:"+tenantPassword("stegomq"), "alice:PASSWORD", "alice:"+tenantPassword("alice"),
			":PASSWORD", ":"+tenantPassword("stegomq"), "host:4222", serverAt, "nats.example:4222", serverAt, "host:6379", redisAt, ":9100", "127.0.0.1:0")
	}
	h.ok("keys", "new", "alice", "--keyring", "keys.json") // the operator has it, and so has alice
	nobody := slices.Clone(h.env)

	const document = "docs/serve.md"
	typed := here(blockOf(t, document, "## On several machines"))
	h.exports(typed[0])
	for _, role := range typed[1:3] {
		h.serves(role)
	}
	h.does(typed[3:])
	typed = blockOf(t, document, "A context gives such servers a name. It keeps the passwords of the environment in a file of mode 0600:")
	h.does(typed[:1])
	operator := h.env
	h.env = nobody // the context has what the environment had
	h.does(typed[1:])

	h.env = append(slices.Clone(operator), "STEGOMQ_NATS_CA=ca.pem", "STEGOMQ_KEYRING=keys.json")
	typed = blockOf(t, document, "A user of the queue has a key and can reach nothing else ([how](access.md)):")
	h.does(typed[:1])
	alice := append(nobody, "STEGOMQ_CONTEXT=", "STEGOMQ_KEYRING=keys.json")
	h.env = append(slices.Clone(alice), "STEGOMQ_NATS_CA=ca.pem", fmt.Sprintf("STEGOMQ_NATS=nats://alice:%s@%s", tenantPassword("alice"), serverAt))
	h.does(typed[1:])
	must(t, os.Rename(h.path("stego.png"), h.path("first.png")))

	typed = here(blockOf(t, "docs/access.md", "## The user"))
	h.env = alice
	h.exports(typed[0])
	h.does(typed[1:])
	h.has("first.png", "stego.png", "secret.png")
}

// startTLSServers runs the example of ops/nats with users, and a Redis with a password, both with TLS alone.
func startTLSServers(t *testing.T, a *certificates.Authority) (nats, redis string) {
	t.Helper()
	nats = startExample(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, timeout: 30 }\n", a.File("server.pem"), a.File("server.key")))

	// redis-server takes no free port by itself: another process may take the port before it.
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		redis = l.Addr().String()
		must(t, l.Close())
		_, port, _ := net.SplitHostPort(redis)
		p := startProcess(t, "redis-server", exec.CommandContext(t.Context(), "redis-server", "--port", "0", "--tls-port", port, "--bind", "127.0.0.1",
			"--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--requirepass", tenantPassword("stegomq"), "--tls-auth-clients", "no",
			"--tls-cert-file", a.File("server.pem"), "--tls-key-file", a.File("server.key"), "--tls-ca-cert-file", a.File("ca.pem")))
		if !strings.HasSuffix(p.await(`eady to accept connections|Failed listening`)[0], "listening") {
			return nats, redis
		}
	}
	t.Fatal("five ports were taken by others")
	return "", ""
}
