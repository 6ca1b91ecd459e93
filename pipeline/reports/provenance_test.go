package reports

import (
	"strings"
	"testing"
)

func TestTypedCommands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"/usr/bin/stegomq|evaluate|--data|photos", "stegomq evaluate --data photos"},
		{"stegomq|evaluate|--data|my photos|--run|", "stegomq evaluate --data 'my photos' --run ''"},
		{"stegomq|--data|it's", `stegomq --data 'it'\''s'`},
		{"stegomq|--nats|nats://alice:hunter2@host:4222", "stegomq --nats nats://xxxxx@host:4222"},
		{"stegomq|--nats=nats://token@host:4222", "stegomq --nats=nats://xxxxx@host:4222"},
		{"stegomq|--redis=redis://:hunter2@host:6379/1", "stegomq --redis=redis://xxxxx@host:6379/1"},
		{"stegomq|--redis|redis://host:6379", "stegomq --redis redis://host:6379"},
		{"stegomq|--partial=25,50", "stegomq --partial=25,50"},
	} {
		if got := typed(strings.Split(c.args, "|")); got != c.want {
			t.Errorf("%q is %q, want %q", c.args, got, c.want)
		}
	}
}

func TestProcessorFields(t *testing.T) {
	t.Parallel()
	const cpu, gpu = "processor\t: 0\nmodel name\t: AMD EPYC 7B13\nmodel\t: 1\n", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 5\n"
	if got := field([]byte(cpu), "model name"); got != "AMD EPYC 7B13" {
		t.Errorf("the CPU is %q", got)
	}
	if got := field([]byte(gpu), "Model"); got != "NVIDIA H100 80GB HBM3" {
		t.Errorf("the GPU is %q", got)
	}
	if got := field([]byte(cpu), "Hardware"); got != "" {
		t.Errorf("no such field: %q", got)
	}
	if processorName() == "" || !strings.HasPrefix(decoders(), "go1.") {
		t.Errorf("processor %q, decoders %q", processorName(), decoders())
	}
}
