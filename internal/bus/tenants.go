package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// ErrNoTenant: no tenant of that name was made.
var ErrNoTenant = errors.New("no such user")

// grantKey is where the streams of a tenant keep what he was granted.
const grantKey = "stegomq-grant"

// TenantOptions say what is made for a tenant.
type TenantOptions struct {
	// Grant is a text that is kept with the tenant's streams.
	Grant string
	// Models whose interactive jobs get a consumer.
	Models []string
	// MaxBlobBytes bounds the tenant's images. Default 1 GiB.
	MaxBlobBytes int64
}

// Bounds of a tenant's streams: nobody's images may take the room of the others'.
const (
	tenantBlobBytes   = 1 << 30
	tenantResultBytes = 64 << 20
)

// EnsureTenant makes the streams of a tenant, and the consumers of what the tenant may ask for. Of streams that exist, the grant is
// replaced, and the bound too where one is given.
func (b *Bus) EnsureTenant(ctx context.Context, tenant string, o TenantOptions) error {
	for name, spec := range b.tenantSpecs(tenant) {
		switch name {
		case schemas.BlobStream(tenant):
			spec.fresh.MaxBytes, spec.maxBytes = or(o.MaxBlobBytes, tenantBlobBytes), o.MaxBlobBytes
		case schemas.ResultStream(tenant):
			spec.fresh.MaxBytes, spec.maxBytes = tenantResultBytes, 0
		}
		stream, err := b.ensureStream(ctx, name, spec)
		if err != nil {
			return fmt.Errorf("stream %s on %s: %w", name, b.where(), err)
		}
		cfg := stream.CachedInfo().Config
		if cfg.Metadata[grantKey] == o.Grant {
			continue
		}
		if cfg.Metadata == nil {
			cfg.Metadata = make(map[string]string)
		}
		cfg.Metadata[grantKey] = o.Grant
		err = b.request(ctx, func(ctx context.Context) error {
			_, err := b.js.UpdateStream(ctx, cfg)
			return err
		})
		if err != nil {
			return fmt.Errorf("keep the grant with stream %s on %s: %w", name, b.where(), err)
		}
	}
	for _, model := range o.Models {
		if err := b.EnsureQueue(ctx, schemas.Interactive, model); err != nil {
			return err
		}
	}
	return nil
}

// TenantStatus is what the server holds for a tenant.
type TenantStatus struct {
	// Grant is the text that EnsureTenant was given.
	Grant string
	// Created is when the tenant was made.
	Created time.Time
	// Streams are the tenant's, results first.
	Streams []StreamStatus
}

// Tenant looks at a tenant's streams. It returns ErrNoTenant.
func (b *Bus) Tenant(ctx context.Context, tenant string) (*TenantStatus, error) {
	status := &TenantStatus{}
	for _, name := range []string{schemas.ResultStream(tenant), schemas.BlobStream(tenant)} {
		err := b.request(ctx, func(ctx context.Context) error {
			stream, err := b.js.Stream(ctx, name)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return ErrNoTenant
			}
			if err != nil {
				return err
			}
			info := stream.CachedInfo()
			status.Grant, status.Created = info.Config.Metadata[grantKey], info.Created
			status.Streams = append(status.Streams, streamStatus(info))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("stream %s on %s: %w", name, b.where(), err)
		}
	}
	return status, nil
}

// DropTenant deletes a tenant's waiting jobs, and the tenant's streams with all that they hold. Streams that are not there are no error.
func (b *Bus) DropTenant(ctx context.Context, tenant string) error {
	queue := schemas.JobStream(schemas.Interactive)
	err := b.request(ctx, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, queue)
		if err != nil {
			return err
		}
		return stream.Purge(ctx, jetstream.WithPurgeSubject(schemas.TenantJobs(schemas.Interactive, tenant)))
	})
	if err != nil {
		return fmt.Errorf("drop the jobs of %s from %s on %s: %w", tenant, queue, b.where(), err)
	}
	for name := range b.tenantSpecs(tenant) {
		err := b.request(ctx, func(ctx context.Context) error { return b.js.DeleteStream(ctx, name) })
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("delete stream %s on %s: %w", name, b.where(), err)
		}
	}
	return nil
}
