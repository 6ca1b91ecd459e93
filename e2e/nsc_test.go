package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stegomq/internal/access"
)

// authority signs accounts like nsc, by the commands that stegomq prints for nsc. nsc itself is not run.
type authority struct {
	t        *testing.T
	operator nkeys.KeyPair
	accounts map[string]*jwt.AccountClaims
	keys     map[string]nkeys.KeyPair
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	operator, err := nkeys.CreateOperator()
	must(t, err)
	a := &authority{t: t, operator: operator, accounts: make(map[string]*jwt.AccountClaims), keys: make(map[string]nkeys.KeyPair)}
	a.add("SYS")
	a.add(access.OperatorAccount).Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	return a
}

func public(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	must(t, err)
	return p
}

func (a *authority) add(name string) *jwt.AccountClaims {
	a.t.Helper()
	key, err := nkeys.CreateAccount()
	must(a.t, err)
	claims := jwt.NewAccountClaims(public(a.t, key))
	claims.Name = name
	a.accounts[name], a.keys[name] = claims, key
	return claims
}

// nscFlag is a flag of nsc with its value, in quotes or bare; --service has none.
var nscFlag = regexp.MustCompile(`--([a-z-]+)(?: (?:'([^']*)'|"([^"]*)"|([^-'"\s]\S*)))?`)

// obey executes lines of nsc commands, and fails on unknown ones.
func (a *authority) obey(lines string) {
	a.t.Helper()
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		flags := make(map[string]string)
		for _, m := range nscFlag.FindAllStringSubmatch(line, -1) {
			flags[m[1]] = m[2] + m[3] + m[4]
		}
		kind := jwt.Stream
		if _, ok := flags["service"]; ok {
			kind = jwt.Service
		}
		switch {
		case line == "", strings.HasPrefix(line, "#"), line == "nsc push --all", strings.HasPrefix(line, "operator=$(nsc describe account "+access.OperatorAccount+" --field sub"):
		case strings.HasPrefix(line, "nsc add account "):
			a.add(strings.TrimPrefix(line, "nsc add account "))
		case strings.HasPrefix(line, "nsc add export "):
			a.accounts[flags["account"]].Exports.Add(&jwt.Export{Name: flags["name"], Subject: jwt.Subject(flags["subject"]), Type: kind})
		case strings.HasPrefix(line, "nsc add import ") && flags["src-account"] == "$operator":
			a.accounts[flags["account"]].Imports.Add(&jwt.Import{
				Name: flags["name"], Subject: jwt.Subject(flags["remote-subject"]), LocalSubject: jwt.RenamingSubject(flags["local-subject"]),
				Account: a.accounts[access.OperatorAccount].Subject, Type: kind,
			})
		case strings.HasPrefix(line, "nsc add user ") && a.accounts[flags["account"]] != nil:
		case strings.HasPrefix(line, "nsc generate creds ") && strings.HasSuffix(flags["output-file"], ".creds"):
		default:
			a.t.Errorf("what is %q?", line)
		}
	}
}

// creds is the credentials file of a user of an account.
func (a *authority) creds(account string) string {
	a.t.Helper()
	key, err := nkeys.CreateUser()
	must(a.t, err)
	signed, err := jwt.NewUserClaims(public(a.t, key)).Encode(a.keys[account])
	must(a.t, err)
	seed, err := key.Seed()
	must(a.t, err)
	data, err := jwt.FormatUserConfig(signed, seed)
	must(a.t, err)
	path := filepath.Join(a.t.TempDir(), account+".creds")
	must(a.t, os.WriteFile(path, data, 0o600))
	return path
}

// serve starts a server that knows the accounts as they are now.
func (a *authority) serve(store string) (addr string, server *process) {
	a.t.Helper()
	operator := jwt.NewOperatorClaims(public(a.t, a.operator))
	operator.SystemAccount = a.accounts["SYS"].Subject
	signed, err := operator.Encode(a.operator)
	must(a.t, err)
	var conf strings.Builder
	fmt.Fprintf(&conf, "operator: %s\nsystem_account: %s\njetstream { store_dir: %q }\nresolver: MEMORY\nresolver_preload: {\n", signed, operator.SystemAccount, store)
	for _, claims := range a.accounts {
		var problems jwt.ValidationResults
		if claims.Validate(&problems); problems.IsBlocking(true) {
			a.t.Fatalf("account %s: %v", claims.Name, problems.Errors())
		}
		signed, err := claims.Encode(a.operator)
		must(a.t, err)
		fmt.Fprintf(&conf, "  %s: %s\n", claims.Subject, signed)
	}
	conf.WriteString("}\n")
	path := filepath.Join(a.t.TempDir(), "jwt.conf")
	must(a.t, os.WriteFile(path, []byte(conf.String()), 0o600))
	bin, err := natsServer()
	must(a.t, err)
	server = startProcess(a.t, "nats-server", exec.CommandContext(a.t.Context(), bin, "-c", path, "-a", "127.0.0.1", "-p", "-1"))
	addr = server.await(`Listening for client connections on (\S+)`)[1]
	server.await(`Server is ready`)
	return addr, server
}

// Where accounts are JWTs, the printed nsc commands let alice embed and recover with a credentials file, and nothing else.
func TestGrantsAsJWTs(t *testing.T) {
	t.Parallel()
	a, store := newAuthority(t), t.TempDir()
	a.obey(access.ExportsNSC())
	addr, server := a.serve(store)
	h, redis := newHome(t), startRedis(t)
	h.env = append(h.env, "STEGOMQ_MODELS="+shippedModels(), "STEGOMQ_MODEL=sealed")
	photos := h.photographs("photos", 2, 96, 96)
	h.ok("keys", "new", "alice")
	operator := a.creds(access.OperatorAccount)
	granted := h.ok("access", "grant", "alice", "--key", "alice", "--nsc", "--nats", "nats://"+addr, "--nats-creds", operator)
	a.obey(granted.stdout)

	// The server learns of the account.
	must(t, server.cmd.Process.Kill())
	<-server.ended
	addr, _ = a.serve(store)
	worker := h.start("gpuworker", "--nats", "nats://"+addr, "--nats-creds", operator, "--redis", redis)
	worker.await("(?m)^ready$")
	creds := a.creds("alice")
	alice := func(args ...string) result {
		return h.run(append(args, "--nats", "nats://"+addr, "--nats-creds", creds, "--tenant", "alice")...)
	}
	alice("embed", "--key", "alice", "--cover", photos+"/00.jpg", "--secret", photos+"/01.png", "-o", "stego.png").want(t, 0, "embed")
	alice("recover", "--key", "alice", "--stego", "stego.png", "-o", "secret.png").want(t, 0, "recover")
	nc, err := nats.Connect("nats://"+addr, nats.UserCredentials(creds), nats.Timeout(patience))
	must(t, err)
	defer nc.Close()
	for _, subject := range []string{"$JS.API.STREAM.NAMES", "stegomq.API.STREAM.INFO.DEAD", "stegomq.API.STREAM.PURGE.BLOBS_alice", "worker.ping"} {
		if m, err := nc.Request(subject, nil, time.Second); err == nil && !strings.Contains(string(m.Data), "not enabled") {
			t.Errorf("%s was answered: %s", subject, m.Data)
		}
	}
}
