package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each of these ends with one line that names the thing and says what to do, and writes nothing.
func TestErrors(t *testing.T) {
	t.Parallel()
	damaged := filepath.Join(t.TempDir(), "damaged")
	must(t, os.CopyFS(damaged, os.DirFS(filepath.Join(tinyModels(), "tiny"))))
	weights := read(t, filepath.Join(damaged, "weights.bin"))
	weights[len(weights)/2] ^= 1
	must(t, os.WriteFile(filepath.Join(damaged, "weights.bin"), weights, 0o644))
	redisURL := startRedis(t)

	const (
		usage       = 2
		unreachable = 3
	)
	evaluate := func(args ...string) []string {
		return append([]string{"evaluate", "--data", "photos", "--size", "32"}, args...)
	}
	embed := func(args ...string) []string {
		return append([]string{"embed", "--key", "demo-1", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "stego.png"}, args...)
	}
	cases := map[string]struct {
		args []string
		code int
		says []string
	}{
		"unknown key":              {embed("--key", "nobody"), usage, []string{"nobody", "demo-1"}},
		"no key":                   {embed("--key", ""), usage, []string{"--key"}},
		"random key not there":     {embed("--key", "random-x"), usage, []string{"random-x"}},
		"unknown model":            {evaluate("--model", "colossal"), usage, []string{"colossal", "tiny"}},
		"unknown model directory":  {embed("--model", "./colossal"), usage, []string{"colossal"}},
		"changed weights":          {evaluate("--model", damaged), usage, []string{"weights.bin"}},
		"changed weights, embed":   {embed("--model", damaged), usage, []string{"weights.bin"}},
		"no Redis":                 {evaluate("--nats", closedPort("nats"), "--redis", closedPort("redis")), unreachable, []string{"Redis", "127.0.0.1:1", "--redis"}},
		"no NATS":                  {evaluate("--nats", closedPort("nats"), "--redis", redisURL), unreachable, []string{"NATS", "127.0.0.1:1"}},
		"no NATS, embed":           {embed("--nats", closedPort("nats"), "--redis", redisURL), unreachable, []string{"NATS", "127.0.0.1:1"}},
		"no NATS, gpuworker":       {[]string{"gpuworker", "--nats", closedPort("nats"), "--redis", redisURL}, unreachable, []string{"NATS"}},
		"no NATS, evaluator":       {[]string{"evaluator", "--nats", closedPort("nats"), "--redis", redisURL}, unreachable, []string{"NATS"}},
		"no NATS, producer":        {[]string{"producer", "--data", "photos", "--nats", closedPort("nats"), "--redis", redisURL}, unreachable, []string{"NATS"}},
		"no Redis, report":         {[]string{"report", "--redis", closedPort("redis")}, unreachable, []string{"Redis"}},
		"not a Redis URL":          {evaluate("--nats", closedPort("nats"), "--redis", "somewhere"), usage, []string{"redis://"}},
		"NATS alone":               {evaluate("--nats", closedPort("nats")), usage, []string{"--nats", "--redis"}},
		"Redis alone":              {evaluate("--redis", redisURL), usage, []string{"--nats", "--redis"}},
		"worker without servers":   {[]string{"gpuworker"}, usage, []string{"--nats", "--redis"}},
		"size 0":                   {evaluate("--size", "0"), usage, []string{"--size 0", "16"}},
		"negative size":            {evaluate("--size", "-5"), usage, []string{"--size -5"}},
		"monstrous size":           {evaluate("--size", "10000000"), usage, []string{"--size 10000000"}},
		"size is no number":        {evaluate("--size", "big"), usage, []string{`--size "big": give a whole number`, "stegomq evaluate --help"}},
		"time without a unit":      {[]string{"bench", "--duration", "5"}, usage, []string{`--duration "5": give a time with its unit`}},
		"rate that never ends":     {[]string{"bench", "--operation", "no-op", "--rate", "1e9"}, usage, []string{"--rate 1e+09", "100000"}},
		"bench into no folder":     {[]string{"bench", "--operation", "no-op", "--json", "nowhere/a.json"}, usage, []string{"--json", "there is no folder nowhere"}},
		"bench into a folder":      {[]string{"bench", "--operation", "no-op", "--svg", "photos"}, usage, []string{"--svg", "photos is a folder"}},
		"monstrous size, embed":    {embed("--size", "10000000"), usage, []string{"--size 10000000"}},
		"unknown resize":           {evaluate("--resize", "stretch"), usage, []string{"stretch", "squash", "crop"}},
		"too many keys":            {evaluate("--keys", "3"), usage, []string{"--keys 3", "tiny", "2 demo keys"}},
		"no keys":                  {evaluate("--keys", "0"), usage, []string{"--keys 0"}},
		"keys file not there":      {evaluate("--keys", "nokeys.json"), usage, []string{"nokeys.json"}},
		"batch too large":          {evaluate("--batch", "65"), usage, []string{"--batch", "64"}},
		"too many random keys":     {evaluate("--random-keys", "10001"), usage, []string{"--random-keys", "10000"}},
		"too many near keys":       {evaluate("--near-keys", "257"), usage, []string{"--near-keys", "256"}},
		"a share over all of it":   {evaluate("--partial", "101"), usage, []string{"--partial 101", "0 to 100"}},
		"a share too fine":         {evaluate("--partial", "12.55"), usage, []string{"--partial 12.55", "one decimal"}},
		"a share twice":            {evaluate("--partial", "50,50"), usage, []string{"--partial 50", "twice"}},
		"no such attack":           {evaluate("--attacks", "jpg-4"), usage, []string{"--attacks", "jpg-4", "jpeg-"}},
		"bad run name":             {evaluate("--run", "a run"), usage, []string{"--run", "a run"}},
		"negative noise":           {evaluate("--noise", "-1"), usage, []string{"--noise"}},
		"no folder":                {[]string{"evaluate", "--data", "nowhere"}, usage, []string{"nowhere"}},
		"covers are not there":     {evaluate("--covers", "nowhere"), usage, []string{"nowhere"}},
		"data is a file":           {[]string{"evaluate", "--data", "photos/00.jpg"}, usage, []string{"photos/00.jpg", "folder"}},
		"data is a packed archive": {[]string{"evaluate", "--data", "packed.tar.gz"}, usage, []string{"packed.tar.gz", "unpack it first", "gunzip"}},
		"folder of a packed one":   {[]string{"evaluate", "--data", "packed"}, usage, []string{"val2017.zip", "unzip"}},
		"list of three columns":    {[]string{"evaluate", "--data", "three.csv"}, usage, []string{"three.csv", "line 1", "a cover and a secret"}},
		"covers twice":             {[]string{"evaluate", "--data", "pairs.csv", "--covers", "photos"}, usage, []string{"pairs.csv", "alone"}},
		"sample and limit":         {evaluate("--sample", "2", "--limit", "2"), usage, []string{"--sample", "--limit"}},
		"negative sample":          {evaluate("--sample", "-1"), usage, []string{"--sample"}},
		"compare one run":          {[]string{"report", "compare", "one"}, usage, []string{"2 arg", "usage: stegomq report compare RUN"}},
		"one image":                {[]string{"evaluate", "--data", "lonely"}, usage, []string{"lonely", "two"}},
		"no image":                 {[]string{"evaluate", "--data", "empty"}, usage, []string{"empty", "JPEG"}},
		"no data":                  {[]string{"evaluate"}, usage, []string{"data"}},
		"unknown flag":             {evaluate("--colour", "red"), usage, []string{"--colour"}},
		"unknown command":          {[]string{"evalute"}, usage, []string{"evalute"}},
		"unknown subcommand":       {[]string{"keys", "lst"}, usage, []string{"lst", "did you mean list"}},
		"dead letters unnamed":     {[]string{"dead", "retry"}, usage, []string{"--all", "--run"}},
		"dead letters twice":       {[]string{"dead", "drop", "7", "--all"}, usage, []string{"--all"}},
		"unknown provider":         {embed("--provider", "abacus"), usage, []string{"abacus", "cuda"}},
		"library not there":        {embed("--ort-lib", "nowhere.so"), usage, []string{"nowhere.so", "make ort"}},
		"unknown log level":        {evaluate("--log-level", "loud"), usage, []string{"loud", "debug"}},
		"no secret":                {embed("--secret", ""), usage, []string{"--secret"}},
		"no stego":                 {[]string{"recover", "--key", "demo-1", "-o", "out.png"}, usage, []string{"--stego"}},
		"no output":                {embed("-o", ""), usage, []string{"--output"}},
		"output is no PNG":         {embed("-o", "out.jpg"), usage, []string{"--output out.jpg", "PNG"}},
		"purify without a file":    {[]string{"purify", "-o", "out.png"}, usage, []string{"file"}},
	}
	one := func(t *testing.T, name string) {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			h.photographs("photos", 2, 40, 40)
			h.photographs("lonely", 1, 40, 40)
			h.mkdir("empty")
			h.write("notes.txt", []byte("no image"))
			h.write("packed.tar.gz", []byte("\x1f\x8b"))
			h.write("packed/val2017.zip", []byte("PK"))
			h.write("three.csv", []byte("photos/00.jpg,photos/01.png,x\n"))
			h.write("pairs.csv", []byte("photos/00.jpg,photos/01.png\n"))
			before := h.tree()
			r := h.run(c.args...)
			r.want(t, c.code, c.args...)
			h.wantUnchanged(before, strings.Join(c.args, " "))
			if r.stdout != "" {
				t.Errorf("on standard output: %s", r.stdout)
			}
			var lines []string
			for line := range strings.Lines(r.stderr) {
				if !strings.Contains(line, "not trained") { // every command that uses such a model says so
					lines = append(lines, line)
				}
			}
			if len(lines) != 1 && name != "unknown command" || // suggestions follow it
				len(lines) == 0 || !strings.HasPrefix(lines[0], "stegomq: ") {
				t.Errorf("%d lines on standard error, want one:\n%s", len(lines), r.stderr)
			}
			for _, word := range c.says {
				if !strings.Contains(r.stderr, word) {
					t.Errorf("the error does not say %q:\n%s", word, r.stderr)
				}
			}
		})
	}
	t.Run("group", func(t *testing.T) { // ends when all of them have
		for name := range cases {
			one(t, name)
		}
	})
	if n, err := redisClient(t, redisURL).DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("Redis has %d keys, %v", n, err)
	}
}
