// Package access owns what a tenant may do on the NATS server, and how the server is told: by its configuration, or by lines for nsc.
//
// Each tenant has an account of its own. All streams are in the operator's account, which exports subjects. The tenant's account imports the subjects
// that it has a right to, and reaches nothing else. Permissions of users within the operator's account would not be enough. The server checks the
// subject of a request, but not where the answer goes, and the answer to a request for a blob is what the tenant has put into it. So a tenant could
// have the server publish anything anywhere (docs/decisions/0014-access.md).
//
// Invariants:
//   - Every subject that a tenant can reach names the tenant, or a stream of the tenant.
//   - No right on a consumer is ever given: a push consumer delivers to any subject.
package access

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stegomq/schemas"
)

// OperatorAccount is the NATS account of the streams, the workers and the evaluators.
const OperatorAccount = "STEGOMQ"

// operatorUser is the user of OperatorAccount in ops/nats/nats.conf. A server has one user of a name.
const operatorUser = "stegomq"

// ErrGrant: a grant is empty, or has a name in it that is not allowed.
var ErrGrant = errors.New("not a grant")

// Grant is what one tenant may do: publish jobs for its keys and models and read what comes of them, upload and read its own images.
type Grant struct {
	// Tenant, as in schemas.ValidTenant; not the operator's own.
	Tenant string `json:"tenant"`
	// Keys by id, and Models by the digest of their manifests. Every key may be used with every model.
	Keys   []string `json:"keys"`
	Models []string `json:"models"`
	// EmbedOnly allows no recovery.
	EmbedOnly bool `json:"embed_only,omitempty"`
}

// Validate returns ErrGrant with what is wrong, or nil.
func (g Grant) Validate() error {
	switch {
	case !schemas.ValidTenant(g.Tenant):
		return fmt.Errorf("%w: a user has 1 to 31 lowercase letters, digits, '_' and '-', not %q", ErrGrant, g.Tenant)
	case g.Tenant == schemas.MainTenant, g.Tenant == operatorUser:
		return fmt.Errorf("%w: %s is the operator", ErrGrant, g.Tenant)
	case len(g.Keys) == 0:
		return fmt.Errorf("%w: it names no key", ErrGrant)
	case len(g.Models) == 0:
		return fmt.Errorf("%w: it names no model", ErrGrant)
	}
	for _, key := range g.Keys {
		if !schemas.ValidKeyID(key) {
			return fmt.Errorf("%w: %q cannot name a key", ErrGrant, key)
		}
		// A key that is derived from another recovers much of what that one hides, or all of it.
		if schemas.DerivedKeyID(key) {
			return fmt.Errorf("%w: %q is a random or derived key, which is nobody's: grant a key that is stored", ErrGrant, key)
		}
	}
	for _, model := range g.Models {
		if !schemas.ValidDigest(model) {
			return fmt.Errorf("%w: %q is not the digest of a model", ErrGrant, model)
		}
	}
	return nil
}

// normal is the grant with every key and model once, in order, so that equal grants print equally.
func (g Grant) normal() Grant {
	sorted := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	g.Keys, g.Models = sorted(g.Keys), sorted(g.Models)
	return g
}

// operations are those that the tenant may ask for.
func (g Grant) operations() []schemas.Operation {
	all := []schemas.Operation{schemas.Operation_OPERATION_EMBED, schemas.Operation_OPERATION_RECOVER}
	if g.EmbedOnly {
		return all[:1]
	}
	return all
}

// Right is a subject of the operator's account that another account reaches. Where Service is set, the subject takes messages and answers them;
// otherwise the other account listens to it.
type Right struct {
	Subject string
	// Local is the subject in the tenant's account, where it differs.
	Local   string
	Service bool
}

// kind is what a nats-server's configuration calls the right.
func (r Right) kind() string {
	if r.Service {
		return "service"
	}
	return "stream"
}

// flag is nsc's for the right.
func (r Right) flag() string {
	if r.Service {
		return " --service"
	}
	return ""
}

// apiSubject is the right to send a request to JetStream in the operator's account. In the tenant's account the subject has another name, since there
// the first name is that of the tenant's own JetStream.
func apiSubject(request string) Right {
	return Right{Subject: "$JS.API." + request, Local: schemas.TenantAPI + "." + request, Service: true}
}

// Exports are the subjects that the operator's account offers. They name no tenant: what each tenant may use is in its imports, which the operator
// writes, too.
func Exports() []Right {
	return []Right{
		{Subject: schemas.ClassFilter(schemas.Interactive), Service: true},
		{Subject: schemas.BlobSubject("*", ">"), Service: true},
		{Subject: "$JS.API.STREAM.INFO.*", Service: true},
		{Subject: "$JS.API.STREAM.MSG.GET.*", Service: true},
		{Subject: "$JS.API.DIRECT.GET.*.>", Service: true},
		{Subject: schemas.TenantResults("*")},
	}
}

// Rights are all rights of the tenant. The grant must be valid.
func (g Grant) Rights() []Right {
	g = g.normal()
	var rights []Right
	for _, model := range g.Models {
		for _, key := range g.Keys {
			for _, op := range g.operations() {
				job := &schemas.Job{Tenant: g.Tenant, Model: model, Operation: op, Key: &schemas.KeyRef{Id: key}, Run: "*"}
				rights = append(rights, Right{Subject: schemas.JobSubject(job), Service: true})
			}
		}
	}
	blobs, results := schemas.BlobStream(g.Tenant), schemas.ResultStream(g.Tenant)
	return append(rights,
		Right{Subject: schemas.BlobSubject(g.Tenant, ">"), Service: true},
		apiSubject("STREAM.INFO."+blobs),
		apiSubject("STREAM.MSG.GET."+blobs),
		apiSubject("DIRECT.GET."+blobs+".>"),
		apiSubject("STREAM.INFO."+results),
		apiSubject("STREAM.MSG.GET."+results),
		Right{Subject: schemas.TenantResults(g.Tenant)},
	)
}

// Config is the tenant's account for a nats-server's configuration, to be included within its accounts block. The password comes from the server's
// environment, by the name that PasswordVariable gives.
func (g Grant) Config() string {
	var b strings.Builder
	// Without quotes 007 would be a number and on a truth value, and the server would not start.
	fmt.Fprintf(&b, "%q: {\n  users: [ { user: %[1]q, password: $%s } ]\n  imports: [\n", g.Tenant, PasswordVariable(g.Tenant))
	for _, r := range g.Rights() {
		to := ""
		if r.Local != "" {
			to = fmt.Sprintf(", to: %q", r.Local)
		}
		fmt.Fprintf(&b, "    { %s: { account: %s, subject: %q }%s }\n", r.kind(), OperatorAccount, r.Subject, to)
	}
	b.WriteString("  ]\n}\n")
	return b.String()
}

// PasswordVariable is the variable of the server's environment that holds a tenant's password. No two tenants share one: the name is in capitals, '-' is
// '_', and '_' is "_u".
func PasswordVariable(tenant string) string {
	return "STEGOMQ_NATS_PASSWORD_" + strings.NewReplacer("-", "_", "_", "_u").Replace(strings.ToUpper(tenant))
}

// NSC are shell lines that make the tenant's account, its imports and its user with nsc, where the operator's account has the exports
// of ExportsNSC.
func (g Grant) NSC() string {
	var b strings.Builder
	fmt.Fprintf(&b, "operator=$(nsc describe account %s --field sub | tr -d '\"')\n", OperatorAccount)
	fmt.Fprintf(&b, "nsc add account %s\n", g.Tenant)
	for i, r := range g.Rights() {
		fmt.Fprintf(&b, "nsc add import --account %s --name right-%d --src-account \"$operator\"%s --remote-subject '%s' --local-subject '%s'\n",
			g.Tenant, i+1, r.flag(), r.Subject, cmp.Or(r.Local, r.Subject))
	}
	fmt.Fprintf(&b, "nsc add user --account %s --name %[1]s\n", g.Tenant)
	fmt.Fprintf(&b, "nsc generate creds --account %s --name %[1]s --output-file %[1]s.creds\n", g.Tenant)
	return b.String()
}

// Account is what the operator has to do to let the tenant in: in a server's configuration, or with nsc.
func (g Grant) Account(nsc bool) string {
	if !nsc {
		return fmt.Sprintf("# Include this in the accounts block of the NATS server, with a password in the place of $%s, and start the server anew, or reload it twice (docs/access.md).\n%s",
			PasswordVariable(g.Tenant), g.Config())
	}
	var once strings.Builder
	for line := range strings.Lines(ExportsNSC()) {
		once.WriteString("#   " + line)
	}
	return fmt.Sprintf("# Once, for the operator's account:\n%s%snsc push --all\n", &once, g.NSC())
}

// ExportsNSC are shell lines that give the operator's account its exports. They are run once.
func ExportsNSC() string {
	var b strings.Builder
	for i, r := range Exports() {
		fmt.Fprintf(&b, "nsc add export --account %s --name stegomq-%d%s --subject '%s'\n", OperatorAccount, i+1, r.flag(), r.Subject)
	}
	return b.String()
}

// ExportsConfig is the list of exports of the operator's account in a nats-server's configuration.
func ExportsConfig() string {
	var b strings.Builder
	b.WriteString("exports: [\n")
	for _, r := range Exports() {
		fmt.Fprintf(&b, "  { %s: %q }\n", r.kind(), r.Subject)
	}
	b.WriteString("]\n")
	return b.String()
}
