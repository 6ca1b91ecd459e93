package client_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"

	"stegomq/client"
)

func TestRuns(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t, client.Config{URL: wide, Token: admin}), within(t)
	if sets, err := c.Datasets(ctx); err != nil || !slices.Equal(sets, []string{"pictures"}) {
		t.Errorf("data sets %v, %v", sets, err)
	}
	none := 0
	asked := client.RunRequest{Name: "from Go", Dataset: "pictures", Model: "modulo", Keys: []string{"alice"}, Size: 32, RandomKeys: &none}
	run, err := c.Evaluate(ctx, asked)
	if err != nil || run.ID == "" || run.Created.IsZero() || run.Ended() {
		t.Fatalf("%+v, %v", run, err)
	}
	told := 0
	run, err = c.Follow(ctx, run.ID, func(*client.Run) { told++ })
	if err != nil || run.State != client.Done || run.Pairs != 2 || run.Total == 0 || run.Scores != run.Total || told == 0 || run.Request.Name != "from Go" {
		t.Errorf("%+v, told %d times, %v", run, told, err)
	}
	data, err := c.RunFile(ctx, run.ID, "summary.json")
	var summary struct{ Keys []string }
	if err != nil || json.Unmarshal(data, &summary) != nil || !slices.Equal(summary.Keys, []string{"alice"}) {
		t.Errorf("summary.json: %v, %.200s", err, data)
	}
	_, err = c.RunFile(ctx, run.ID, "../keys")
	wantProblem(t, err, client.NotFound)
	if runs, err := c.Runs(ctx); err != nil || !slices.ContainsFunc(runs, func(r client.Run) bool { return r.ID == run.ID }) {
		t.Errorf("runs %+v, %v", runs, err)
	}
	if run, err := c.CancelRun(ctx, run.ID); err != nil || run.State != client.Done { // it had ended
		t.Errorf("%+v, %v", run, err)
	}
	if err := c.DeleteRun(ctx, run.ID); err != nil {
		t.Error(err)
	}
	_, err = c.Run(ctx, run.ID)
	wantProblem(t, err, client.UnknownRun)
	asked.Dataset = "elsewhere"
	_, err = c.Evaluate(ctx, asked)
	wantProblem(t, err, client.UnknownDataset)
}

// lossy brings every request to the service, and loses the first answer.
type lossy struct{ ids []string }

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	l.ids = append(l.ids, resp.Header.Get("Location"))
	if len(l.ids) == 1 {
		_ = resp.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return resp, nil
}

// A run whose answer is lost is asked for again, and is the same run. With a key of the caller's it is, too, and with that key nothing else is.
func TestRunIsBegunOnce(t *testing.T) {
	t.Parallel()
	l, ctx := &lossy{}, within(t)
	c := newClient(t, client.Config{URL: wide, Token: admin, HTTP: &http.Client{Transport: l}})
	asked := client.RunRequest{Dataset: "pictures", Model: "modulo", Size: 32, IdempotencyKey: "TestRunIsBegunOnce"}
	run, err := c.Evaluate(ctx, asked)
	if err != nil || len(l.ids) != 2 || l.ids[0] != l.ids[1] || l.ids[0] != "/v1/runs/"+run.ID {
		t.Fatalf("%+v, %v, asked for as %q", run, err, l.ids)
	}
	if same, err := c.Evaluate(ctx, asked); err != nil || same.ID != run.ID {
		t.Errorf("%+v, %v", same, err)
	}
	asked.Size = 48
	_, err = c.Evaluate(ctx, asked)
	wantProblem(t, err, client.IdempotencyKeyReused)
	asked.IdempotencyKey = ""
	other, err := c.Evaluate(ctx, asked)
	if err != nil || other.ID == run.ID {
		t.Fatalf("%+v, %v", other, err)
	}
	for _, id := range []string{run.ID, other.ID} {
		if err := c.DeleteRun(ctx, id); err != nil {
			t.Error(err)
		}
	}
}

// What a run is asked for by is what the service's document says.
func TestRunRequestIsTheDocuments(t *testing.T) {
	t.Parallel()
	resp, err := http.Get(wide + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var document struct {
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	one, share := 1, 1.0
	whole, err := json.Marshal(client.RunRequest{
		Name: "n", Dataset: "d", Model: "m", Keys: []string{"k"}, DemoKeys: 1, Size: 1, Resize: "crop", Limit: 1, Sample: 1, SampleSeed: 1, RandomKeys: &one, NearKeys: 1,
		Noise: &share, Swapped: true, NoKey: true, Partial: []float64{1}, Attacks: []string{"a"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(whole, &fields); err != nil {
		t.Fatal(err)
	}
	ours, theirs := slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(document.Components.Schemas["RunRequest"].Properties))
	if fmt.Sprint(ours) != fmt.Sprint(theirs) {
		t.Errorf("a run is asked for by %v, and the document has %v", ours, theirs)
	}
}
