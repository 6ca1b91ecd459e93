package link

import "testing"

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nats://host:4222":                    "nats://host:4222",
		"nats://u:p@host:4222":                "nats://host:4222",
		"nats://token@host,tls://u:p@b:1":     "nats://host,tls://b:1",
		`dial "nats://u:p@host:1": no`:        `dial "nats://host:1": no`,
		"nats://u:p%zz@host:4222":             "nats://[redacted]",
		"connection refused by 127.0.0.1:422": "connection refused by 127.0.0.1:422",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}
