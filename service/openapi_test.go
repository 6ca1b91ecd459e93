package service

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

// described is what the tests read of openapi.json.
type described struct {
	Paths map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Security    *[]any `json:"security"`
		Responses   map[string]struct {
			Codes []code `json:"x-codes"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas struct {
			Problem struct {
				Properties struct {
					Code struct {
						Enum []code `json:"enum"`
					} `json:"code"`
				} `json:"properties"`
			} `json:"Problem"`
		} `json:"schemas"`
	} `json:"components"`
}

var readDocument = sync.OnceValues(func() (d described, err error) {
	err = json.Unmarshal(openAPI, &d)
	return d, err
})

// checker holds answers against the document. It is not said to be for several goroutines.
var checker = struct {
	sync.Mutex
	make func() (validator.Validator, error)
}{make: sync.OnceValues(func() (validator.Validator, error) {
	doc, err := libopenapi.NewDocument(openAPI)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return v, nil
})}

// documented fails a test with an answer that the document does not have: its status, body, or code.
func documented(t testing.TB, req *http.Request, resp *http.Response, body []byte) {
	t.Helper()
	d, err := readDocument()
	if err != nil {
		t.Fatal(err)
	}
	path := pattern(d, req.URL.Path)
	if path == "" || d.Paths[path][strings.ToLower(req.Method)].OperationID == "" {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is not in the document, and answers %d", req.Method, req.URL.Path, resp.StatusCode)
		}
		return
	}
	checker.Lock()
	defer checker.Unlock()
	v, err := checker.make()
	if err != nil {
		t.Fatal(err)
	}
	copied := *resp
	copied.Body = io.NopCloser(bytes.NewReader(body))
	if ok, errs := v.ValidateHttpResponse(req, &copied); !ok {
		for _, e := range errs {
			t.Errorf("%s %s: %d: %s: %s %v", req.Method, req.URL.Path, resp.StatusCode, e.Message, e.Reason, e.SchemaValidationErrors)
		}
	}
	if resp.StatusCode < 400 {
		return
	}
	var p problem
	codes := d.Paths[path][strings.ToLower(req.Method)].Responses[strconv.Itoa(resp.StatusCode)].Codes
	if err := json.Unmarshal(body, &p); err != nil || !slices.Contains(codes, p.Code) {
		t.Errorf("%s %s: %d has the codes %v in the document, and answers %s", req.Method, req.URL.Path, resp.StatusCode, codes, body)
	}
}

// pattern is the path of the document that an address is of.
func pattern(d described, address string) string {
	want := strings.Split(address, "/")
	for path := range d.Paths {
		have := strings.Split(path, "/")
		if slices.EqualFunc(have, want, func(h, w string) bool { return h == w || strings.HasPrefix(h, "{") && w != "" }) {
			return path
		}
	}
	return ""
}

// The document is valid, and has the routes, statuses and codes that the code has.
func TestDocument(t *testing.T) {
	t.Parallel()
	checker.Lock()
	v, err := checker.make()
	if err != nil {
		t.Fatal(err)
	}
	ok, errs := v.ValidateDocument()
	checker.Unlock()
	for _, e := range errs {
		t.Errorf("%v: %s", ok, e)
	}
	d, err := readDocument()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for closed, list := range map[bool][]route{true: routes, false: open} {
		for _, r := range list {
			op := d.Paths[r.path][strings.ToLower(r.method)]
			if n++; op.OperationID == "" {
				t.Errorf("%s %s is not in the document", r.method, r.path)
			}
			if needsToken := op.Security == nil; needsToken != closed {
				t.Errorf("%s %s: the document says that a token is needed: %v", r.method, r.path, needsToken)
			}
			_, unauthorized := op.Responses["401"]
			if _, forbidden := op.Responses["403"]; unauthorized != closed || r.scope != "" && !forbidden {
				t.Errorf("%s %s: 401 %v, 403 %v", r.method, r.path, unauthorized, forbidden)
			}
		}
	}
	used := map[code]bool{codeNotFound: true, codeMethod: true, codeConflict: true} // of addresses that are not there, and of a run that failed
	for path, methods := range d.Paths {
		for method, op := range methods {
			n--
			for status, resp := range op.Responses {
				for _, c := range resp.Codes {
					used[c] = true
					if strconv.Itoa(problems[c].status) != status {
						t.Errorf("%s %s: %s is answered with %d, not %s", method, path, c, problems[c].status, status)
					}
				}
			}
		}
	}
	if n != 0 {
		t.Errorf("the document has %d routes more than the code", -n)
	}
	page, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	enum := d.Components.Schemas.Problem.Properties.Code.Enum
	for c, p := range problems {
		if !used[c] || !slices.Contains(enum, c) {
			t.Errorf("%s: on a route %v, in the schema %v", c, used[c], slices.Contains(enum, c))
		}
		if row := "| `" + string(c) + "` | " + strconv.Itoa(p.status) + " |"; !bytes.Contains(page, []byte(row)) {
			t.Errorf("docs/http.md has no row %s", row)
		}
	}
	if len(enum) != len(problems) {
		t.Errorf("the schema has %d codes, the code %d", len(enum), len(problems))
	}
	for _, r := range slices.Concat(routes, open) {
		if !bytes.Contains(page, []byte("`"+r.method+" "+r.path+"`")) {
			t.Errorf("docs/http.md does not have %s %s", r.method, r.path)
		}
	}
}

func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	c := &client{api: start(t, Config{})}
	if a := c.get("/v1/openapi.json"); a.status != http.StatusOK || !bytes.Equal(a.body, openAPI) {
		t.Errorf("status %d, %d bytes", a.status, len(a.body))
	}
}
