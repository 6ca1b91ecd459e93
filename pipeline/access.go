package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"stegomq/internal/access"
	"stegomq/internal/blob"
	"stegomq/internal/queueadmin"
	"stegomq/internal/streams"
)

// GrantAccess makes what belongs to the user of a valid grant on a shared server, and keeps the grant there. The server's configuration lets the user in.
// Images are the bound of the user's images, in bytes; 0: as it is.
func GrantAccess(ctx context.Context, s *streams.Streams, g access.Grant, images int64) error {
	text, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return s.EnsureTenant(ctx, g.Tenant, streams.TenantOptions{Grant: string(text), Models: g.Models, MaxBlobBytes: images})
}

// Bounds of the images of a user who comes through Ask, who fetches them at once and alone.
const (
	AskedLifetime = time.Hour
	askedBytes    = 512 << 20
)

// EnsureUser makes what belongs to a user who comes through Ask, where a grant has not made it.
func (s *Services) EnsureUser(ctx context.Context, user string) error {
	_, err := s.Streams.Tenant(ctx, user)
	if !errors.Is(err, streams.ErrNoTenant) {
		return err
	}
	return s.Streams.EnsureTenant(ctx, user, streams.TenantOptions{MaxBlobBytes: askedBytes, BlobLifetime: AskedLifetime})
}

// NoRoom says whether an error is of a message queue that has no room for images.
func NoRoom(err error) bool {
	return errors.Is(err, blob.ErrFull) || errors.Is(err, streams.ErrNoStorage)
}

// Access is what a user was granted, and what the server holds for the user.
func Access(ctx context.Context, s *streams.Streams, user string) (g access.Grant, held *streams.TenantStatus, err error) {
	if held, err = s.Tenant(ctx, user); err != nil {
		return g, nil, err
	}
	if err := json.Unmarshal([]byte(held.Grant), &g); err != nil {
		return g, nil, fmt.Errorf("the grant that the server keeps for %s does not read: grant again: %w", user, err)
	}
	return g, held, nil
}

// RevokeAccess deletes what the server holds for a user, dead letters too.
func RevokeAccess(ctx context.Context, s *streams.Streams, user string) error {
	if _, err := s.Tenant(ctx, user); err != nil {
		return err
	}
	if err := s.DropTenant(ctx, user); err != nil {
		return err
	}
	return queueadmin.New(s).DropDeadOf(ctx, user)
}
