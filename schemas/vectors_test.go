package schemas

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vector is what another implementation has to make of a message of testdata: every name, and the bytes that every id is the hash of.
type vector struct {
	Message string `json:"message"`
	// Of jobs and results.
	Class   string `json:"class,omitempty"`
	Stream  string `json:"stream,omitempty"`
	Subject string `json:"subject,omitempty"`
	MsgID   string `json:"nats_msg_id,omitempty"`
	// ID is that of a job or of a run; Hashed are the bytes, in hexadecimal.
	ID     string       `json:"id,omitempty"`
	Hashed string       `json:"hashed,omitempty"`
	Items  []itemVector `json:"items,omitempty"`
}

type itemVector struct {
	Item   string `json:"item"`
	WorkID string `json:"work_id"`
	Hashed string `json:"hashed"`
}

// vectors are those of all messages that have ids or subjects, and one of metrics, which no message has.
func vectors() (all []vector) {
	for _, k := range kinds() {
		v := vector{Message: k.name + ".binpb"}
		switch m := k.sample().(type) {
		case *Job:
			v.Class, v.Stream, v.Subject, v.MsgID = string(JobClass(m)), JobStream(JobClass(m)), JobSubject(m), MsgID(m)
			v.ID, v.Hashed = JobID(m), hex.EncodeToString(jobHash(m).buf)
			for _, item := range m.GetItems() {
				v.Items = append(v.Items, itemVector{item.GetId(), ItemWorkID(m, item), hex.EncodeToString(workHash(m, item).buf)})
			}
		case *Result:
			v.Stream, v.Subject, v.MsgID = ResultStream(TenantName(m.GetJob().GetTenant())), ResultSubject(m), ResultMsgID(m)
			if m.GetJob().GetScore() {
				v.Stream = StreamScoring
			}
		case *RunSpec:
			v.ID, v.Hashed = RunID(m), hex.EncodeToString(runHash(m).buf)
		case *DeadLetter:
			v.Stream, v.Subject = StreamDead, DeadSubject(Reason(m.GetReason()))
		default:
			continue
		}
		all = append(all, v)
	}
	s := testScore()
	g := testSpec().GetGeometry()
	embed := testEmbed()
	work := ItemWorkID(embed, embed.GetItems()[0])
	return append(all, vector{
		Message: "memo of the first item of job-embed.binpb, made by " + testRuntime,
		ID:      MemoID(work, testRuntime), Hashed: hex.EncodeToString(memoHash(work, testRuntime).buf),
	}, vector{
		Message: "metrics of version 1, of score.binpb at the geometry of run-spec.binpb",
		ID:      MetricsID("1", s.GetReference(), s.GetTest(), g), Hashed: hex.EncodeToString(metricsHash("1", s.GetReference(), s.GetTest(), g).buf),
	})
}

// TestVectors pins ids.json, and that the bytes in it give its ids.
func TestVectors(t *testing.T) {
	t.Parallel()
	made, err := json.MarshalIndent(vectors(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	file := filepath.Join("testdata", "ids.json")
	if *update {
		if err := os.WriteFile(file, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, golden) {
		t.Errorf("names or ids have changed: got\n%s\n-update rewrites %s; that changes the protocol", made, file)
	}
	var read []vector
	if err := json.Unmarshal(golden, &read); err != nil {
		t.Fatal(err)
	}
	check := func(what, id, hashed string) {
		raw, err := hex.DecodeString(hashed)
		sum := sha256.Sum256(raw)
		if want := hex.EncodeToString(sum[:16]); err != nil || strings.TrimPrefix(id, "run-") != want[:len(strings.TrimPrefix(id, "run-"))] || len(id) < 16 {
			t.Errorf("%s: the bytes hash to %s (%v), the id is %s", what, want, err, id)
		}
	}
	for _, v := range read {
		if v.ID != "" {
			check(v.Message, v.ID, v.Hashed)
		}
		for _, item := range v.Items {
			check(v.Message+" "+item.Item, item.WorkID, item.Hashed)
		}
	}
	if len(read) < 15 {
		t.Errorf("only %d vectors", len(read))
	}
}
