package schemas

import (
	"context"
	"errors"
)

// ErrAway marks an error because a server does not answer. It says nothing about the work: it is not counted as a try, and the work
// comes back when the server does.
var ErrAway = errors.New("a server that is needed is away")

type tenantKey struct{}

// WithTenant gives a context in which blobs are those of a tenant: those of a job, of the job's.
func WithTenant(ctx context.Context, tenant string) context.Context {
	return context.WithValue(ctx, tenantKey{}, tenant)
}

// TenantOf is the tenant of a context, and whether it has one.
func TenantOf(ctx context.Context) (tenant string, ok bool) {
	tenant, ok = ctx.Value(tenantKey{}).(string)
	return tenant, ok
}
