package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// ErrNoTenant: there is no tenant of that name.
var ErrNoTenant = errors.New("no such user")

// grantKey is the metadata key of the tenant's grant in the tenant's streams.
const grantKey = "stegomq-grant"

// TenantOptions are the settings of a tenant's streams and consumers.
type TenantOptions struct {
	// Grant is a text that is kept with the tenant's streams.
	Grant string
	// Models are those whose interactive jobs get a consumer.
	Models []string
	// MaxBlobBytes bounds the tenant's images. Default 1 GiB.
	MaxBlobBytes int64
	// BlobLifetime is how long the tenant's images are kept. Default: as long as everybody's.
	BlobLifetime time.Duration
}

// Bounds of a tenant's streams: one tenant's images may not take the others' room.
const (
	tenantBlobBytes   = 1 << 30
	tenantResultBytes = 64 << 20
)

// EnsureTenant makes the streams of a tenant, and the consumers of the jobs that the tenant may publish. In existing streams it replaces the
// grant, and the bound if one is given.
func (s *Streams) EnsureTenant(ctx context.Context, tenant string, o TenantOptions) error {
	for name, want := range s.tenantSpecs(tenant) {
		switch name {
		case schemas.BlobStream(tenant):
			want.fresh.MaxBytes, want.maxBytes = cmp.Or(o.MaxBlobBytes, tenantBlobBytes), o.MaxBlobBytes
			want.fresh.MaxAge, want.maxAge = cmp.Or(o.BlobLifetime, want.fresh.MaxAge), cmp.Or(o.BlobLifetime, want.maxAge)
		case schemas.ResultStream(tenant):
			want.fresh.MaxBytes, want.maxBytes = tenantResultBytes, 0
		}
		stream, err := s.ensureStream(ctx, name, want)
		if err != nil {
			return fmt.Errorf("stream %s on %s: %w", name, s.Link.Where(), err)
		}
		cfg := stream.CachedInfo().Config
		if cfg.Metadata[grantKey] == o.Grant {
			continue
		}
		if cfg.Metadata == nil {
			cfg.Metadata = make(map[string]string)
		}
		cfg.Metadata[grantKey] = o.Grant
		err = s.Link.Request(ctx, func(ctx context.Context) error {
			_, err := s.Link.JS.UpdateStream(ctx, cfg)
			return err
		})
		if err != nil {
			return fmt.Errorf("keep the grant with stream %s on %s: %w", name, s.Link.Where(), err)
		}
	}
	for _, model := range o.Models {
		if err := s.EnsureLane(ctx, Lane{Class: schemas.Interactive, Model: model}); err != nil {
			return err
		}
	}
	return nil
}

// TenantStatus is what the server holds for a tenant.
type TenantStatus struct {
	// Grant is the text that EnsureTenant was given.
	Grant string `json:"-"`
	// Created is when the tenant was made.
	Created time.Time `json:"created"`
	// Streams are the tenant's, results first.
	Streams []Status `json:"streams"`
}

// Tenant looks at a tenant's streams. It returns ErrNoTenant.
func (s *Streams) Tenant(ctx context.Context, tenant string) (*TenantStatus, error) {
	status := &TenantStatus{}
	for _, name := range tenantStreams(tenant) {
		err := s.Link.Request(ctx, func(ctx context.Context) error {
			stream, err := s.Link.JS.Stream(ctx, name)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return ErrNoTenant
			}
			if err != nil {
				return err
			}
			info := stream.CachedInfo()
			status.Grant, status.Created = info.Config.Metadata[grantKey], info.Created
			status.Streams = append(status.Streams, statusOf(info))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("stream %s on %s: %w", name, s.Link.Where(), err)
		}
	}
	return status, nil
}

// DropTenant deletes a tenant's waiting jobs, and the tenant's streams with their content. Missing streams are no error.
func (s *Streams) DropTenant(ctx context.Context, tenant string) error {
	queue := schemas.JobStream(schemas.Interactive)
	err := s.Link.Request(ctx, func(ctx context.Context) error {
		stream, err := s.Link.JS.Stream(ctx, queue)
		if err != nil {
			return err
		}
		return stream.Purge(ctx, jetstream.WithPurgeSubject(schemas.TenantJobs(schemas.Interactive, tenant)))
	})
	if err != nil {
		return fmt.Errorf("drop the jobs of %s from %s on %s: %w", tenant, queue, s.Link.Where(), err)
	}
	for _, name := range tenantStreams(tenant) {
		err := s.Link.Request(ctx, func(ctx context.Context) error { return s.Link.JS.DeleteStream(ctx, name) })
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("delete stream %s on %s: %w", name, s.Link.Where(), err)
		}
	}
	return nil
}
