package stegomq_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "stegomq"

// house says which packages of this module a package may import. A package that is not here, and an import
// that is not here, is a decision: make it in this table.
var house = map[string][]string{
	"schemas":               {},
	"internal/weights":      {},
	"internal/quality":      {},
	"internal/pixel":        {},
	"internal/steganalysis": {},
	"internal/lsb":          {},
	"internal/dct":          {},
	"internal/rotation":     {"internal/dct"},
	"internal/kem":          {},
	"internal/avif":         {},
	"internal/stc":          {},
	"internal/sealed":       {"internal/avif", "internal/kem", "internal/stc"},

	"internal/filelock":   {},
	"internal/keyring":    {"internal/filelock", "internal/kem"},
	"internal/rotated":    {"internal/kem", "internal/rotation", "internal/stc"},
	"internal/modulo":     {"internal/dct", "internal/kem", "internal/rotation"},
	"internal/telemetry":  {"internal/tracing"},
	"internal/tracing":    {"schemas"},
	"internal/access":     {"schemas"},
	"internal/state":      {"internal/filelock"},
	"internal/contexts":   {"internal/filelock"},
	"internal/users":      {"internal/filelock", "internal/keyring", "schemas"},
	"internal/flagfile":   {},
	"internal/model":      {"internal/weights", "schemas"},
	"internal/stopwatch":  {},
	"internal/ort":        {"internal/model", "internal/ort/onnxpb", "internal/pixel", "internal/stopwatch", "internal/weights"},
	"internal/ort/onnxpb": {},
	"internal/cache":      {"internal/filelock", "schemas"},

	// The message queue, from the server up.
	"internal/natsserver": {"internal/filelock"},
	"internal/link":       {"internal/natsserver", "schemas"},
	"internal/streams":    {"internal/link", "schemas"},
	"internal/blob":       {"internal/link", "schemas"},
	"internal/bus":        {"internal/link", "internal/streams", "internal/tracing", "schemas"},
	"internal/queueadmin": {"internal/bus", "internal/link", "internal/streams", "internal/tracing", "schemas"},

	"internal/source": {"internal/pixel", "schemas"},
	"internal/engine": {
		"internal/kem", "internal/keyring", "internal/lsb", "internal/model", "internal/modulo", "internal/ort", "internal/pixel", "internal/rotated",
		"internal/sealed", "internal/stc", "internal/weights", "schemas",
	},

	// Load and what is said of it.
	"internal/load": {"report/figure"},

	// What only tests import: it stands in no other row.
	"internal/testrig/browser":      {},
	"internal/testrig/certificates": {},
	"internal/testrig/collector":    {"internal/telemetry"},
	"internal/testrig/modeldir":     {"internal/model"},
	"internal/testrig/leaks":        {},
	"internal/testrig/natsrig":      {"internal/link", "internal/natsserver", "internal/streams", "internal/testrig/leaks", "schemas"},
	"internal/testrig": {
		"internal/blob", "internal/bus", "internal/cache", "internal/engine", "internal/keyring", "internal/link", "internal/model", "internal/natsserver",
		"internal/ort", "internal/queueadmin", "internal/streams", "internal/testrig/leaks", "internal/testrig/natsrig",
	},

	"producer":  {"internal/pixel", "internal/quality", "internal/tracing", "schemas"},
	"gpuworker": {"internal/pixel", "internal/stopwatch", "internal/tracing", "schemas"},
	"evaluator": {"internal/quality", "internal/tracing", "schemas"},

	// Runs and requests: the roles with the adapters that they need, between them and the commands.
	"pipeline": {
		"schemas", "producer", "gpuworker", "evaluator", "internal/access", "internal/blob", "internal/bus", "internal/cache", "internal/engine", "internal/keyring",
		"internal/link", "internal/load", "internal/model", "internal/natsserver", "internal/ort", "internal/pixel", "internal/quality", "internal/queueadmin",
		"internal/source", "internal/state", "internal/streams", "internal/telemetry", "internal/tracing", "study",
	},
	"pipeline/reports": {
		"schemas", "producer", "internal/keyring", "internal/model", "internal/modulo", "internal/ort", "internal/pixel", "internal/rotation",
		"internal/steganalysis", "pipeline", "report", "study", "study/audit", "study/paper",
	},

	// The HTTP API and its page, a front of the queue, and who asks it from Go: programs of others, which get nothing else with it.
	"client": {},
	"service": {
		"schemas", "producer", "internal/keyring", "internal/model", "internal/pixel", "internal/quality", "internal/tracing", "internal/users", "pipeline", "report/figure", "service/page", "study",
	},
	"service/page": {},

	// Reports: one model with its renderers, what is said of many scores, and charts. They know no runs.
	"report":        {},
	"report/stats":  {},
	"report/figure": {},

	// The figures of runs, from their scores, and which verdicts follow. A study knows no queue and no cache, and renders nothing.
	"study":       {"internal/pixel", "internal/quality", "report", "report/figure", "report/stats", "schemas"},
	"study/paper": {"report", "report/figure", "report/stats", "schemas", "study"},
	"study/audit": {"internal/steganalysis", "report", "report/figure", "report/stats", "schemas", "study"},

	"cmd/stegomq": {
		"schemas", "producer", "internal/access", "internal/contexts", "internal/flagfile", "internal/keyring", "internal/link", "internal/load", "internal/model",
		"internal/ort", "internal/pixel", "internal/quality", "internal/queueadmin", "internal/streams", "internal/telemetry", "internal/users", "pipeline", "pipeline/reports", "report", "service", "study",
	},

	// It knows the program as its users do.
	"e2e/chaos": {},
}

// pure packages are the contracts and the mathematics: the standard library, and what is named here.
var pure = map[string][]string{
	"schemas":           {"google.golang.org/protobuf"},
	"client":            {},
	"internal/weights":  {},
	"internal/access":   {"schemas"},
	"internal/quality":  {"golang.org/x/sys"},
	"internal/dct":      {},
	"internal/rotation": {"internal/dct"},
	"internal/lsb":      {"golang.org/x/crypto"},
	"internal/kem":      {"golang.org/x/crypto"},
	"internal/stc":      {"golang.org/x/sys"},
}

// owners keep a library to few packages, their tests included, so that it can be replaced there. "C" is cgo.
var owners = map[string][]string{
	"C":                                 {"internal/ort"},
	"github.com/yalue/onnxruntime_go":   {"internal/ort"},
	"github.com/nats-io/nats.go":        {"internal/link", "internal/streams", "internal/blob", "internal/bus", "internal/queueadmin"},
	"github.com/nats-io/nats-server":    {"internal/natsserver", "internal/testrig/natsrig"},
	"github.com/redis/go-redis":         {"internal/cache"},
	"github.com/alicebob/miniredis":     {"internal/cache"},
	"github.com/disintegration/imaging": {"internal/pixel"},
	"gonum.org/v1/plot":                 {"report/figure"},
	"github.com/HdrHistogram":           {"internal/load"},
	"github.com/gen2brain/avif":         {"internal/avif"},
	"github.com/tetratelabs/wazero":     {"internal/avif"},
	"go.opentelemetry.io/otel":          {"internal/telemetry", "internal/tracing"},
	"go.opentelemetry.io/otel/sdk":      {"internal/telemetry"},
	"go.opentelemetry.io/proto":         {"internal/testrig/collector"},
}

// adapters are handed to the roles by cmd: no role reaches one, by whatever way. All of the message queue reaches its link.
var (
	roles    = []string{"producer", "gpuworker", "evaluator"}
	adapters = []string{"internal/natsserver", "internal/link", "internal/cache", "internal/ort"}
)

// endToEnd are the folders whose tests see everything.
var endToEnd = []string{"cmd", "e2e"}

// unit is what one package imports, by the files that every build would see and by its tests: paths inside
// the module without its name, others whole.
type unit struct{ code, tests []string }

// violations names every broken rule of a graph of packages.
func violations(graph map[string]unit) []string {
	var broken []string
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(graph)) {
		u := graph[name]
		all := append(slices.Clone(u.code), u.tests...)
		top, _, _ := strings.Cut(name, "/")

		allowed, known := house[name]
		if !known && len(u.code) > 0 {
			fail("%s is not in the table of packages", name)
		}
		for _, imp := range u.code {
			if _, ours := graph[imp]; ours && known && !slices.Contains(allowed, imp) {
				fail("%s imports %s", name, imp)
			}
		}
		for _, imp := range all {
			if imp != name && under(imp, "cmd") {
				fail("%s imports %s", name, imp)
			}
		}
		if libraries, isPure := pure[name]; isPure {
			for _, imp := range u.code {
				if !standard(imp) && !slices.ContainsFunc(libraries, func(l string) bool { return under(imp, l) }) {
					fail("%s imports %s: it may only use the standard library and %q", name, imp, libraries)
				}
			}
		}
		for library, few := range owners {
			seen := u.code
			if !slices.Contains(endToEnd, top) {
				seen = all
			}
			for _, imp := range seen {
				if under(imp, library) && !slices.Contains(few, name) {
					fail("%s imports %s: only %s may", name, imp, strings.Join(few, ", "))
				}
			}
		}
		switch base := path.Base(name); base {
		case "util", "utils", "common", "helper", "helpers", "misc", "shared":
			fail("%s: a package is named after what it holds, not %q", name, base)
		}
	}
	for _, role := range roles {
		reached := reach(graph, role)
		for _, other := range append(slices.Clone(roles), adapters...) {
			if other != role && reached[other] {
				fail("%s reaches %s", role, other)
			}
		}
	}
	for name := range graph {
		for reached := range reach(graph, name) {
			if under(name, "internal") && slices.Contains(roles, reached) {
				fail("%s reaches the role %s", name, reached)
			}
		}
	}
	slices.Sort(broken)
	return broken
}

// reach is every package of the module that the code of one imports, directly or not.
func reach(graph map[string]unit, from string) map[string]bool {
	reached := make(map[string]bool)
	todo := []string{from}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		for _, imp := range graph[next].code {
			if _, ours := graph[imp]; ours && !reached[imp] {
				reached[imp] = true
				todo = append(todo, imp)
			}
		}
	}
	return reached
}

// under says whether an import path is a package or lies below it; a major version (/v2) is below.
func under(imp, prefix string) bool { return imp == prefix || strings.HasPrefix(imp, prefix+"/") }

// standard says whether a path is of the standard library. cgo's "C" is, so that owners alone deals with it;
// paths of the module never come here with their module name, and have to be in house.
func standard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	_, ours := house[imp]
	return !ours && !strings.Contains(first, ".")
}

// readGraph parses the imports of every Go file of the module, whatever its build constraints.
func readGraph(t *testing.T) map[string]unit {
	t.Helper()
	graph := make(map[string]unit)
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if _, err := os.Stat(filepath.Join(file, "go.mod")); file != "." && err == nil {
				return fs.SkipDir // another module
			}
			if n := d.Name(); file != "." && (n == "testdata" || n[0] == '.' || n[0] == '_') {
				return fs.SkipDir
			}
			return nil
		case filepath.Ext(file) != ".go":
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(filepath.Dir(file))
		u := graph[name]
		for _, spec := range parsed.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			imp = strings.TrimPrefix(imp, module+"/")
			if strings.HasSuffix(file, "_test.go") {
				u.tests = append(u.tests, imp)
			} else {
				u.code = append(u.code, imp)
			}
		}
		graph[name] = u
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return graph
}

func TestImports(t *testing.T) {
	t.Parallel()
	graph := readGraph(t)
	for _, v := range violations(graph) {
		t.Error(v)
	}
	for name, allowed := range house {
		if _, exists := graph[name]; !exists {
			t.Errorf("%s is in the table of packages and does not exist", name)
		}
		for _, imp := range allowed {
			if !slices.Contains(graph[name].code, imp) {
				t.Errorf("%s does not import %s: take it out of the table", name, imp)
			}
		}
	}
	// A rule about a library that nobody imports would pass for ever.
	for library, few := range owners {
		for _, owner := range few {
			if library != "C" && !slices.ContainsFunc(graph[owner].code, func(imp string) bool { return under(imp, library) }) {
				t.Errorf("%s does not import %s: the rule about it is stale", owner, library)
			}
		}
	}
}

// TestImportRulesBite breaks each rule in turn and expects to be told.
func TestImportRulesBite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pkg, imp, want string }{
		{"producer", "internal/bus", "producer imports internal/bus"},
		{"evaluator", "internal/bus", "evaluator reaches internal/link"},
		{"producer", "gpuworker", "producer reaches gpuworker"},
		{"internal/source", "internal/cache", "evaluator reaches internal/cache"},
		{"internal/pixel", "internal/ort", "gpuworker reaches internal/ort"},
		{"internal/bus", "producer", "internal/bus reaches the role producer"},
		{"schemas", "github.com/nats-io/nats.go", "schemas imports github.com/nats-io/nats.go: it may only use"},
		{"internal/quality", "gonum.org/v1/gonum/stat", "internal/quality imports gonum.org/v1/gonum/stat"},
		{"internal/lsb", "internal/pixel", "internal/lsb imports internal/pixel"},
		{"internal/lsb", "github.com/zeebo/xxh3", "internal/lsb imports github.com/zeebo/xxh3: it may only use"},
		{"internal/weights", "schemas", "internal/weights imports schemas"},
		{"cmd/stegomq", "github.com/redis/go-redis/v9", "only internal/cache may"},
		{"internal/bus", "github.com/yalue/onnxruntime_go", "only internal/ort may"},
		{"internal/pixel", "C", "only internal/ort may"},
		{"evaluator", "cmd/stegomq", "evaluator imports cmd/stegomq"},
		{"internal/helpers", "fmt", "named after what it holds"},
		{"internal/new", "fmt", "internal/new is not in the table"},
	} {
		t.Run(c.pkg+" "+c.imp, func(t *testing.T) {
			t.Parallel()
			graph := map[string]unit{
				"producer": {}, "gpuworker": {code: []string{"internal/pixel"}}, "evaluator": {code: []string{"internal/source"}},
				"schemas": {}, "cmd/stegomq": {}, "internal/bus": {code: []string{"internal/link"}}, "internal/link": {}, "internal/cache": {}, "internal/ort": {},
				"internal/pixel": {}, "internal/source": {}, "internal/quality": {}, "internal/weights": {}, "internal/lsb": {},
			}
			u := graph[c.pkg]
			u.code = append(u.code, c.imp)
			graph[c.pkg] = u
			got := violations(graph)
			if !slices.ContainsFunc(got, func(v string) bool { return strings.Contains(v, c.want) }) {
				t.Errorf("violations are %q, none says %q", got, c.want)
			}
		})
	}
	t.Run("tests too", func(t *testing.T) {
		t.Parallel()
		got := violations(map[string]unit{"producer": {tests: []string{"github.com/nats-io/nats.go/jetstream"}}})
		if len(got) != 1 {
			t.Errorf("violations are %q, want one", got)
		}
	})
}
