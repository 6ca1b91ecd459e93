package access

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"stegomq/schemas"
)

var model = strings.Repeat("0a", 32)

func TestGrantValidate(t *testing.T) {
	t.Parallel()
	good := Grant{Tenant: "alice", Keys: []string{"alice", "k-2"}, Models: []string{model}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Grant){
		"no tenant":        func(g *Grant) { g.Tenant = "" },
		"the operator":     func(g *Grant) { g.Tenant = schemas.MainTenant },
		"its user":         func(g *Grant) { g.Tenant = "stegomq" },
		"upper case":       func(g *Grant) { g.Tenant = "Alice" },
		"a subject":        func(g *Grant) { g.Tenant = "alice.bob" },
		"a wildcard":       func(g *Grant) { g.Tenant = "*" },
		"quotes":           func(g *Grant) { g.Tenant = `a" }` },
		"too long":         func(g *Grant) { g.Tenant = strings.Repeat("a", 32) },
		"no key":           func(g *Grant) { g.Keys = nil },
		"any key":          func(g *Grant) { g.Keys = []string{"*"} },
		"every key":        func(g *Grant) { g.Keys = []string{"alice", ">"} },
		"keys of a line":   func(g *Grant) { g.Keys = []string{"a'; rm"} },
		"nearly another's": func(g *Grant) { g.Keys = []string{"near-3-bob"} },
		"all of another's": func(g *Grant) { g.Keys = []string{"partial-1000-bob"} },
		"exchanged halves": func(g *Grant) { g.Keys = []string{"swapped-bob"} },
		"anybody's":        func(g *Grant) { g.Keys = []string{"random-1-1"} },
		"no model":         func(g *Grant) { g.Models = nil },
		"a model's name":   func(g *Grant) { g.Models = []string{"sealed"} },
		"any model":        func(g *Grant) { g.Models = []string{"*"} },
		"a shorter digest": func(g *Grant) { g.Models = []string{model[2:]} },
	} {
		g := good
		change(&g)
		if err := g.Validate(); !errors.Is(err, ErrGrant) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// covered says whether everything that a subject selects is selected by a filter too.
func covered(subject, filter string) bool {
	s, f := strings.Split(subject, "."), strings.Split(filter, ".")
	for i, token := range f {
		if token == ">" {
			return len(s) > i
		}
		if i >= len(s) || s[i] == ">" || token != "*" && token != s[i] {
			return false
		}
	}
	return len(s) == len(f)
}

func TestRights(t *testing.T) {
	t.Parallel()
	g := Grant{Tenant: "alice", Keys: []string{"k2", "k1", "k2"}, Models: []string{model}}
	rights := g.Rights()
	var subjects []string
	for _, r := range rights {
		subjects = append(subjects, r.Subject)
		// Nothing but what is the tenant's.
		if !strings.Contains(r.Subject, ".alice.") && !strings.HasSuffix(r.Subject, "_alice") && !strings.Contains(r.Subject, "_alice.") {
			t.Errorf("%s does not name the tenant", r.Subject)
		}
		if strings.Contains(r.Subject, "CONSUMER") || strings.Contains(r.Local, "CONSUMER") {
			t.Errorf("%s: a right on a consumer", r.Subject)
		}
		if strings.HasPrefix(r.Subject, "$JS.API.") != strings.HasPrefix(r.Local, schemas.TenantAPI+".") {
			t.Errorf("%s is %q in the tenant's account", r.Subject, r.Local)
		}
		// What is imported is exported.
		if !slices.ContainsFunc(Exports(), func(e Right) bool { return e.Service == r.Service && covered(r.Subject, e.Subject) }) {
			t.Errorf("no export covers %s", r.Subject)
		}
	}
	job := &schemas.Job{Tenant: "alice", Model: model, Operation: schemas.Operation_OPERATION_RECOVER, Key: &schemas.KeyRef{Id: "k1"}, Run: "r"}
	can := func() bool {
		return slices.ContainsFunc(g.Rights(), func(r Right) bool { return covered(schemas.JobSubject(job), r.Subject) })
	}
	if !can() {
		t.Errorf("%s is not in %q", schemas.JobSubject(job), subjects)
	}
	g.EmbedOnly = true
	if can() {
		t.Error("recovers with a grant to embed")
	}
	g.EmbedOnly = false
	for _, c := range []struct {
		name   string
		change func(*schemas.Job)
	}{
		{"key", func(j *schemas.Job) { j.Key = &schemas.KeyRef{Id: "k3"} }},
		{"model", func(j *schemas.Job) { j.Model = strings.Repeat("0b", 32) }},
		{"tenant", func(j *schemas.Job) { j.Tenant = "bob" }},
		{"operator", func(j *schemas.Job) { j.Tenant = "" }},
		{"class", func(j *schemas.Job) { j.Score = true }},
		{"operation", func(j *schemas.Job) { j.Operation, j.Key = schemas.Operation_OPERATION_PURIFY, nil }},
	} {
		job = &schemas.Job{Tenant: "alice", Model: model, Operation: schemas.Operation_OPERATION_RECOVER, Key: &schemas.KeyRef{Id: "k1"}, Run: "r"}
		c.change(job)
		if can() {
			t.Errorf("another %s: %s is in %q", c.name, schemas.JobSubject(job), subjects)
		}
	}
	if len(rights) != 2*2+7 {
		t.Errorf("%d rights: %q", len(rights), subjects)
	}
}

// Equal grants print equally, and every right is in both forms.
func TestForms(t *testing.T) {
	t.Parallel()
	a := Grant{Tenant: "alice", Keys: []string{"k1", "k2"}, Models: []string{model}}
	b := Grant{Tenant: "alice", Keys: []string{"k2", "k1", "k1"}, Models: []string{model, model}}
	if a.Config() != b.Config() || a.NSC() != b.NSC() {
		t.Error("the order of keys shows")
	}
	for _, r := range a.Rights() {
		if strings.Count(a.Config(), `"`+r.Subject+`"`) != 1 || strings.Count(a.NSC(), "--remote-subject '"+r.Subject+"'") != 1 {
			t.Errorf("%s is not once in each form", r.Subject)
		}
	}
	for _, r := range Exports() {
		if strings.Count(ExportsConfig(), `"`+r.Subject+`"`) != 1 || strings.Count(ExportsNSC(), "--subject '"+r.Subject+"'") != 1 {
			t.Errorf("%s is not once in each form", r.Subject)
		}
	}
}

// Tenants whose names look alike do not share a password.
func TestPasswordVariable(t *testing.T) {
	t.Parallel()
	tenants := make(map[string]string)
	for _, tenant := range []string{"alice", "a-b_c", "a_b-c", "a-b-c", "a_b_c", "a-ub", "a_b", "a-b", "a--b", "a__b"} {
		name := PasswordVariable(tenant)
		if other := tenants[name]; other != "" || strings.ContainsAny(name, "-") {
			t.Errorf("%s is the variable of %s, and of %q", name, tenant, other)
		}
		tenants[name] = tenant
	}
	for name, tenant := range map[string]string{"STEGOMQ_NATS_PASSWORD_ALICE": "alice", "STEGOMQ_NATS_PASSWORD_A_B": "a-b", "STEGOMQ_NATS_PASSWORD_A_uB": "a_b"} {
		if tenants[name] != tenant {
			t.Errorf("%s is of %q, not of %s", name, tenants[name], tenant)
		}
	}
}
