package pipeline

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stegomq/internal/state"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const secret = "not-to-be-shown"
	for name, c := range map[string]struct {
		at   Endpoints
		says string // empty: nothing is wrong
	}{
		"embedded":                        {Endpoints{}, ""},
		"loopback":                        {Endpoints{NATS: "nats://127.0.0.1:4222", Redis: "redis://localhost:6379"}, ""},
		"IPv6 loopback":                   {Endpoints{NATS: "nats://[::1]:4222", Redis: "redis://[::1]:6379"}, ""},
		"socket":                          {Endpoints{NATS: "localhost", Redis: "unix:///run/redis.sock"}, ""},
		"password":                        {Endpoints{NATS: "nats://u:" + secret + "@host:4222", Redis: "redis://:" + secret + "@host"}, ""},
		"token":                           {Endpoints{NATS: "nats://" + secret + "@host:4222"}, ""},
		"credentials, password file":      {Endpoints{NATS: "nats://host", NATSCredentials: "f", Redis: "redis://host", RedisPasswordFile: "f"}, ""},
		"client certificates":             {Endpoints{NATS: "tls://host", NATSCert: "c", NATSKey: "k", Redis: "rediss://host", RedisCert: "c", RedisKey: "k"}, ""},
		"insecure":                        {Endpoints{NATS: "nats://host", Redis: "redis://host", Insecure: true}, ""},
		"NATS without":                    {Endpoints{NATS: "nats://host:4222", Redis: "redis://localhost"}, "STEGOMQ_NATS"},
		"NATS without a scheme":           {Endpoints{NATS: "host:4222"}, "--nats-creds"},
		"one of two":                      {Endpoints{NATS: "nats://u:" + secret + "@a,nats://b"}, "nats://b"},
		"the first of two":                {Endpoints{NATS: "nats://b,nats://u:" + secret + "@a"}, "nats://b"},
		"TLS alone knows nobody":          {Endpoints{NATS: "tls://host", NATSCA: "ca"}, "--insecure"},
		"any address":                     {Endpoints{NATS: "nats://0.0.0.0:4222"}, "authentication"},
		"a name that begins as loopback":  {Endpoints{NATS: "nats://127.0.0.1.example.org"}, "authentication"},
		"does not parse":                  {Endpoints{NATS: "nats://u:" + secret + "%zz@host"}, "authentication"},
		"Redis without":                   {Endpoints{NATS: "nats://localhost", Redis: "redis://host:6379"}, "STEGOMQ_REDIS"},
		"Redis with a user alone":         {Endpoints{Redis: "redis://user@host:6379"}, "--redis-password-file"},
		"Redis with TLS alone":            {Endpoints{Redis: "rediss://host:6379", RedisCA: "ca"}, "--redis-cert"},
		"a NATS certificate without key":  {Endpoints{NATS: "tls://host", NATSCert: "c"}, "--nats-key"},
		"a Redis key without certificate": {Endpoints{Redis: "rediss://host", RedisKey: "k"}, "--redis-cert"},
		"tenant":                          {Endpoints{NATS: "nats://localhost", Tenant: "alice"}, ""},
		"tenant without a server":         {Endpoints{Tenant: "alice"}, "--nats"},
		"the operator as tenant":          {Endpoints{NATS: "nats://localhost", Tenant: "main"}, "--tenant"},
		"a tenant that is none":           {Endpoints{NATS: "nats://localhost", Tenant: "a.b"}, "--tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.at.Check()
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v does not say %s, or too much", err, c.says)
			}
		})
	}
}

func TestHasSecret(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"": false, "nats://host": false, "host:4222": false, "redis://host/1": false, "redis://user@host": false, "unix:///run/sock": false,
		"nats://u:p@host": true, "nats://token@host": true, "u:p@host": true, "nats://a,nats://u:p@b": true, "redis://:p@host": true, "rediss://u:p@host": true, "nats://u:p%zz@host": true,
	} {
		if got := HasSecret(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

// A running up is found by its folder, and its secret is given to its own address alone.
func TestLocate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	up := Endpoints{State: dir, NATSListen: "127.0.0.1:4222", RedisListen: "127.0.0.1:6379"}
	server, err := up.serverConfig(slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	redis, err := up.cacheOptions(slog.Default())
	if err != nil || redis.Secret != server.Secret || server.Secret == "" {
		t.Fatalf("secrets %q and %q, %v", server.Secret, redis.Secret, err)
	}
	locate := func(e Endpoints) Endpoints {
		t.Helper()
		e.State = dir
		if err := e.Locate(); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := locate(Endpoints{}); !e.Embedded() || !e.Local() || e.natsSecret != "" {
		t.Errorf("without an up: %+v", e)
	}
	told, err := up.Announce("nats://127.0.0.1:4222", "redis://127.0.0.1:6379/0")
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]Endpoints{
		"nothing":   {},
		"addresses": {NATS: "nats://127.0.0.1:4222", Redis: "redis://127.0.0.1:6379/0"},
		"names":     {NATS: "nats://localhost:4222", Redis: "redis://localhost:6379/0"},
	} {
		e := locate(e)
		options, err := e.cacheOptions(slog.Default())
		if e.Embedded() || !e.Local() || e.linkConfig(slog.Default()).Secret != server.Secret || options.Secret != server.Secret || err != nil || e.Check() != nil {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	for name, e := range map[string]Endpoints{
		"another port":     {NATS: "nats://127.0.0.1:4223", Redis: "redis://127.0.0.1:6380/0"},
		"another host":     {NATS: "nats://host:4222", Redis: "redis://host:6379/0"},
		"a user":           {NATS: "nats://u:p@127.0.0.1:4222", Redis: "redis://:p@127.0.0.1:6379/0"},
		"credentials":      {NATS: "nats://127.0.0.1:4222", NATSCredentials: "f", Redis: "redis://host"},
		"another protocol": {NATS: "tls://127.0.0.1:4222", Redis: "rediss://127.0.0.1:6379"},
	} {
		if e := locate(e); e.natsSecret != "" || e.redisSecret != "" {
			t.Errorf("%s: it was given the secret", name)
		}
	}
	if e := locate(Endpoints{NATS: "nats://127.0.0.1:4222", Tenant: "alice"}); !e.Local() {
		t.Error("a tenant of an up is not told from one of a server with accounts")
	}
	if err := told.Withdraw(); err != nil {
		t.Error(err)
	}
	if e := locate(Endpoints{}); !e.Embedded() {
		t.Errorf("after the end of up: %+v", e)
	}
	if _, ok, _ := state.Find(dir); ok {
		t.Error("found")
	}
}

func TestRedisPasswordFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	e := Endpoints{Redis: "redis://host", RedisPasswordFile: file}
	if _, err := e.cacheOptions(slog.Default()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("no file: %v", err)
	}
	for text, want := range map[string]string{"word\n": "word", " \n": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := e.cacheOptions(slog.Default())
		if o.Secret != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, o.Secret, err)
		}
	}
}
